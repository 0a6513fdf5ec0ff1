"""What the account of runs may do in its namespace, and what none of ours may: a real server is asked both."""

from typing import Any

RUN_RULES: list[dict[str, Any]] = [
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "get", "list", "watch", "delete"]},
    {"apiGroups": ["batch"], "resources": ["jobs/status"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "get", "list", "watch", "delete"]},
    {"apiGroups": [""], "resources": ["pods/log", "pods/status"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["services"], "verbs": ["create", "delete"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["get", "list"]},
]
"""Runs start steps and trainings, follow their logs and remove them."""

FORBIDDEN: list[tuple[str, str, str]] = [
    ("", "secrets", "get"),
    ("", "secrets", "list"),
    ("", "configmaps", "update"),
    ("", "pods/exec", "create"),
    ("", "pods", "patch"),
    ("", "serviceaccounts/token", "create"),
    ("", "nodes", "patch"),
    ("", "persistentvolumeclaims", "delete"),
    ("apps", "deployments", "update"),
    ("apps", "deployments", "delete"),
    ("rbac.authorization.k8s.io", "roles", "create"),
    ("rbac.authorization.k8s.io", "rolebindings", "create"),
    ("networking.k8s.io", "networkpolicies", "delete"),
]
"""Group, resource and verb."""
