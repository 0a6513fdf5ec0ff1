"""No account may do more than its part: the chart's roles, asked of the API server itself."""

from itertools import product

import kubernetes
import pytest
from kubernetes.client import ApiException

from tests.deploy.chart import RELEASE, of_kind, rendered
from tests.k8s.world import RUNS, World

FORBIDDEN = [  # group, resource, verb
    ("", "secrets", "get"),
    ("", "secrets", "list"),
    ("", "configmaps", "update"),
    ("", "pods/exec", "create"),
    ("", "pods", "patch"),
    ("", "serviceaccounts/token", "create"),
    ("", "nodes", "list"),
    ("", "persistentvolumeclaims", "delete"),
    ("apps", "deployments", "update"),
    ("apps", "deployments", "delete"),
    ("rbac.authorization.k8s.io", "roles", "create"),
    ("rbac.authorization.k8s.io", "rolebindings", "create"),
    ("networking.k8s.io", "networkpolicies", "delete"),
]
PODS, JOBS = ("", "pods", "create"), ("batch", "jobs", "create")
MAY_CREATE = {RUNS: {PODS, JOBS}, f"{RELEASE}-daemon": {JOBS}, f"{RELEASE}-webserver": set(), "default": set()}


def may(world: World, account: str, one: tuple[str, str, str], namespace: str) -> bool:
    """Return what the API server would answer."""
    group, (name, _, part), verb = one[0], one[1].partition("/"), one[2]
    asked = {"group": group, "resource": name, "subresource": part, "verb": verb, "namespace": namespace}
    who = f"system:serviceaccount:{world.namespace}:{account}"
    review = {"spec": {"user": who, "groups": ["system:serviceaccounts"], "resourceAttributes": asked}}
    answer = kubernetes.client.AuthorizationV1Api().create_subject_access_review(review)
    return bool(answer.status.allowed)


def test_every_role_holds_in_its_namespace_only(world):
    for role in of_kind(rendered(), "Role"):
        account = role["metadata"]["name"]
        asked = [one for rule in role["rules"] for one in product(rule["apiGroups"], rule["resources"], rule["verbs"])]
        assert [one for one in asked if not may(world, account, one, world.namespace)] == [], account
        assert [one for one in asked if may(world, account, one, "kube-system")] == [], account


@pytest.mark.parametrize("account", MAY_CREATE)
def test_no_account_reads_secrets_or_changes_what_serves(world, account):
    assert [one for one in FORBIDDEN if may(world, account, one, world.namespace)] == []


@pytest.mark.parametrize("account", MAY_CREATE)
def test_only_runs_start_pods_and_only_they_and_the_daemon_start_jobs(world, account):
    assert {one for one in (PODS, JOBS) if may(world, account, one, world.namespace)} == MAY_CREATE[account]


def test_a_refusal_is_a_real_one(world):
    core = kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(str(world.kubeconfig)))
    assert core.list_namespaced_pod(world.namespace).items is not None
    with pytest.raises(ApiException) as refused:
        core.list_namespaced_secret(world.namespace)
    assert refused.value.status == 403
    with pytest.raises(ApiException) as elsewhere:
        core.list_namespaced_pod("kube-system")
    assert elsewhere.value.status == 403
