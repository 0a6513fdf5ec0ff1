"""What every manifest of ours must be, whoever makes it."""

from collections.abc import Mapping
from typing import Any

import kubernetes
import kubernetes_validate

from deploy.manifest_rules import problems


def plain(model: Any) -> dict[str, Any]:
    """Return a model of the Kubernetes client as the manifest that it sends."""
    return kubernetes.client.ApiClient().sanitize_for_serialization(model)


def faults(manifest: Mapping[str, Any]) -> list[str]:
    """Return what Kubernetes' own schema, unknown fields refused, and our rules have against it."""
    try:
        kubernetes_validate.validate(dict(manifest), kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    return problems(manifest)
