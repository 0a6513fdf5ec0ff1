"""No account may do more than its part: asked of the API server itself."""

from itertools import product

import kubernetes
import pytest
from kubernetes.client import ApiException

from tests.k8s.rights import FORBIDDEN, RUN_RULES
from tests.k8s.world import World

ACCOUNT = "limited"


@pytest.fixture(scope="module")
def limited(world: World) -> World:
    world.grant(ACCOUNT, RUN_RULES)
    return world


def user(namespace: str, account: str) -> str:
    return f"system:serviceaccount:{namespace}:{account}"


def may(who: str, group: str, resource: str, verb: str, namespace: str) -> bool:
    """Return what the API server would answer."""
    name, _, part = resource.partition("/")
    asked = {"group": group, "resource": name, "subresource": part, "verb": verb, "namespace": namespace}
    review = {"spec": {"user": who, "groups": ["system:serviceaccounts"], "resourceAttributes": asked}}
    answer = kubernetes.client.AuthorizationV1Api().create_subject_access_review(review)
    return bool(answer.status.allowed)


def test_a_run_may_do_what_it_needs_in_its_namespace_only(limited):
    who = user(limited.namespace, ACCOUNT)
    asked = [one for rule in RUN_RULES for one in product(rule["apiGroups"], rule["resources"], rule["verbs"])]
    assert [one for one in asked if not may(who, *one, limited.namespace)] == []
    assert [one for one in asked if may(who, *one, "kube-system")] == []


@pytest.mark.parametrize("account", [ACCOUNT, "default"])
def test_no_account_of_a_run_or_a_training_reads_secrets_or_changes_what_serves(limited, account):
    who = user(limited.namespace, account)
    assert [one for one in FORBIDDEN if may(who, *one, limited.namespace)] == []


def test_a_refusal_is_a_real_one(limited):
    client = kubernetes.client.ApiClient()
    client.set_default_header("Impersonate-User", user(limited.namespace, ACCOUNT))
    core = kubernetes.client.CoreV1Api(client)
    assert core.list_namespaced_pod(limited.namespace).items is not None
    with pytest.raises(ApiException) as refused:
        core.list_namespaced_secret(limited.namespace)
    assert refused.value.status == 403
    with pytest.raises(ApiException) as elsewhere:
        core.list_namespaced_pod("kube-system")
    assert elsewhere.value.status == 403
