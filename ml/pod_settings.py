"""The settings of a cluster: what pods that we start ourselves run, and as whom. Part of `ml.settings`.

Here: names only, and no secret: pods take secrets from Kubernetes. What one model's pods get is in its spec.
"""

from pydantic import Field
from pydantic_settings import BaseSettings


class PodSettings(BaseSettings):
    """Where training pods run and what they see. Only HEADWATER_ENV=k8s reads these."""

    image: str = Field("", description="Image of training pods; HEADWATER_ENV=k8s needs it.")
    image_pull_secrets: str = Field("", description="Secrets to pull that image with, separated by commas.")
    namespace: str = Field("", description="Where training pods run; HEADWATER_ENV=k8s needs it.")
    home_claim: str = Field(
        "", description="PersistentVolumeClaim (ReadWriteMany) that holds HEADWATER_HOME; HEADWATER_ENV=k8s needs it."
    )
    pod_secrets: str = Field(
        "", description="Secrets whose keys are environment variables of training pods, separated by commas."
    )
    pod_config_maps: str = Field(
        "", description="ConfigMaps whose keys are environment variables of training pods, separated by commas."
    )
    pod_user: int = Field(10001, gt=0, description="User and group that training pods run as; never root.")


def names(listed: str) -> list[str]:
    """Return the names in a list separated by commas."""
    return [name.strip() for name in listed.split(",") if name.strip()]
