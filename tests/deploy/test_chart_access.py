"""Who reaches which pod and port of the chart, and what its service accounts may do."""

import pytest

from deploy.manifest_rules import pod_spec
from tests.deploy.chart import VALUES, named, of_kind, rendered

SERVERS = ("Deployment", "StatefulSet")


def reaching(manifests, component, port):
    """Return the peers that a network policy lets reach a port of a component's pods."""
    found = []
    for policy in of_kind(manifests, "NetworkPolicy"):
        chosen = policy["spec"]["podSelector"].get("matchLabels", {})
        if chosen.get("app.kubernetes.io/component", component) != component:
            continue
        for rule in policy["spec"].get("ingress", []):
            if port in [p["port"] for p in rule.get("ports", [])]:
                found += rule.get("from", ["anybody"])
    return found


@pytest.mark.parametrize("values", VALUES)
def test_no_client_reaches_the_control_port_and_no_training_pod(values):
    (peer,) = reaching(rendered(values), "triton", 8001)
    assert peer["podSelector"]["matchLabels"] == {
        "app.kubernetes.io/name": "headwater",
        "headwater.io/part": "platform",
    }
    (except_for,) = peer["podSelector"]["matchExpressions"]
    assert (except_for["operator"], except_for["values"]) == ("NotIn", ["training"])
    assert "namespaceSelector" not in peer


def test_clients_reach_the_port_of_inference_if_they_are_named():
    assert reaching(rendered(), "triton", 8443) == []
    peer = {"namespaceSelector": {"matchLabels": {"team": "booking"}}}
    assert reaching(rendered(triton={"clients": {"from": [peer]}}), "triton", 8443) == [peer]
    assert reaching(rendered("values-single-node.yaml"), "triton", 8443) == [{"namespaceSelector": {}}]


@pytest.mark.parametrize("component", ["postgresql", "redis", "mlflow", "webserver", "webserver-readonly", "code"])
def test_nobody_outside_of_the_release_reaches_databases_and_the_ui(component):
    port = {"postgresql": 5432, "redis": 6379, "mlflow": 5000, "code": 4000}.get(component, 3000)
    peers = reaching(rendered(), component, port)
    assert peers
    for peer in peers:
        assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "headwater"
        assert "namespaceSelector" not in peer


def test_every_pod_is_closed_by_default():
    policy = named(rendered(), "NetworkPolicy", "default")
    assert policy["spec"]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "headwater"}}
    assert "Ingress" in policy["spec"]["policyTypes"]
    assert "ingress" not in policy["spec"]


def rights(component):
    role = named(rendered(), "Role", component)
    return {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}


def test_rights_are_as_few_as_each_needs():
    assert not {resource for resource, _ in rights("daemon") | rights("runs")} & {"secrets", "configmaps", "roles"}
    assert ("jobs", "create") in rights("daemon")
    assert ("pods", "create") not in rights("daemon")
    assert {("pods", "create"), ("pods", "delete"), ("services", "create")} <= rights("runs")
    assert {verb for _, verb in rights("webserver")} == {"get", "list", "watch", "delete"}
    assert of_kind(rendered(), "ClusterRole") == []


def test_readers_servers_and_stores_have_no_rights_at_all():
    for manifest in (m for m in rendered("values-managed.yaml") if m["kind"] in SERVERS):
        spec, component = pod_spec(manifest), manifest["metadata"]["labels"]["app.kubernetes.io/component"]
        assert (spec["automountServiceAccountToken"] is True) == (component in ("webserver", "daemon"))


def test_the_readers_webserver_cannot_start_runs():
    (container,) = pod_spec(named(rendered(), "Deployment", "webserver-readonly"))["containers"]
    assert "--read-only" in container["command"]


def test_operators_are_named_and_readers_reach_only_the_ui_without_buttons():
    manifests = rendered("values-managed.yaml")
    for role, upstream, groups in (
        ("operators", "hw-webserver:3000", ["ml-engineers"]),
        ("readers", "hw-webserver-readonly:3000", ["ml-engineers", "analysts"]),
    ):
        (container,) = pod_spec(named(manifests, "Deployment", role))["containers"]
        assert f"--upstream=http://{upstream}" in container["args"]
        assert [a.split("=")[1] for a in container["args"] if a.startswith("--allowed-group=")] == groups
    (ingress,) = of_kind(manifests, "Ingress")
    assert ingress["spec"]["tls"][0]["hosts"] == ["headwater.example.com", "readers.headwater.example.com"]


def test_training_pods_reach_each_other_on_every_port_for_they_choose_their_own():
    policies = [p for p in of_kind(rendered(), "NetworkPolicy") if p["metadata"]["name"].endswith("-training")]
    ((rule,),) = (policy["spec"]["ingress"] for policy in policies)
    assert rule == {"from": [{"podSelector": {"matchLabels": {"app.kubernetes.io/component": "training"}}}]}
