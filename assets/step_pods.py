"""What the pod of a step gets when steps run as Kubernetes Jobs; an asset that needs more than SMALL says so by tag.

Here: sizes and the safety of every pod. Locally nobody reads the tags. Training has pods of its own, sized by its
spec (ml/pod_resources.py): its step only watches.
"""

from collections.abc import Mapping
from typing import Any

_TAG = "dagster-k8s/config"


def _pod(cpu: str, memory: str) -> dict[str, Any]:
    return {
        "container_config": {
            "resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}},
        },
    }


SMALL_POD: dict[str, Any] = {
    "container_config": {
        **_pod("1", "2Gi")["container_config"],
        "security_context": {"allow_privilege_escalation": False, "capabilities": {"drop": ["ALL"]}},
    },
    "pod_spec_config": {
        "security_context": {"run_as_non_root": True, "seccomp_profile": {"type": "RuntimeDefault"}},
        "enable_service_links": False,
    },
}
"""What a step gets unless it says more: enough to import everything and read a month."""

LARGE: Mapping[str, Any] = {_TAG: _pod("2", "8Gi")}
"""For steps that hold a year of rows, or build tables: dbt, joins, scores, drift."""
