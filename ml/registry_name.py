"""Whether a name in MLflow's registry is ours to register versions under.

Not here: the versions (ml/registry.py).
"""

from typing import TYPE_CHECKING

from ml.model_version import PROVENANCE
from ml.recording import OURS

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def require_name(client: "MlflowClient", name: str, address: str) -> None:
    """Raise LookupError if something else has the name in the registry at `address`: a prompt, or a foreign model.

    MLflow would hide versions behind a prompt, and ours must not mix with someone else's.
    """
    if client.search_prompts(f"name = '{name}'"):
        raise LookupError(f"a prompt has the name {name!r} in the registry {address}; delete it or name it otherwise")
    for model in client.search_registered_models(f"name = '{name}'"):
        if any(model.tags.get(key) == value for key, value in OURS.items()):
            continue
        # Names from before the tag existed are known by what their versions bear.
        if any(PROVENANCE in version.tags for version in client.search_model_versions(f"name = '{name}'")):
            continue
        tags = ", ".join(f"{key}={value}" for key, value in OURS.items())
        raise LookupError(
            f"the registry {address} has a model {name!r} that Headwater did not make; rename the model in ml/models, "
            f"or, if it is ours, give it the tag {tags}"
        )
