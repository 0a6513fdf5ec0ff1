"""Which way leads out of the cluster: any by default, and where it is closed, for each pod only what it needs."""

import kubernetes_validate
import pytest

from deploy.manifest_rules import problems
from tests.deploy.chart import named, of_kind, refusal, rendered

CIDR = {name: f"10.0.{n}.0/24" for n, name in enumerate(("apiServer", "objectStore", "postgresql", "redis", "login"))}
OUTSIDE = {name: {"cidrs": [cidr]} for name, cidr in CIDR.items()}
CLOSED = {"closed": True, "outside": OUTSIDE}
API, STORE, SQL, REDIS, LOGIN = CIDR.values()
RUN = {"app.kubernetes.io/name": "headwater", "headwater.io/part": "platform", "app.kubernetes.io/component": "run"}
TRAINING = {**RUN, "app.kubernetes.io/component": "training"}


def chosen(selector, labels):
    """Whether a selector chooses a pod with these labels, as Kubernetes says."""
    for rule in selector.get("matchExpressions", []):
        among = labels.get(rule["key"]) in rule["values"]
        if among != {"In": True, "NotIn": False}[rule["operator"]]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def ways_out(manifests, labels):
    """Return the addresses outside of the cluster that a pod may reach, each with its ports."""
    found = set()
    for policy in of_kind(manifests, "NetworkPolicy"):
        if "Egress" in policy["spec"]["policyTypes"] and chosen(policy["spec"]["podSelector"], labels):
            for rule in policy["spec"].get("egress", []):
                ports = tuple(port["port"] for port in rule.get("ports", []))
                found |= {(peer["ipBlock"]["cidr"], ports) for peer in rule["to"] if "ipBlock" in peer}
    return found


def labels_of(manifests, kind, name):
    return named(manifests, kind, name)["spec"]["template"]["metadata"]["labels"]


def test_any_way_out_is_open_unless_it_is_closed():
    assert ways_out(rendered(), RUN) == {("0.0.0.0/0", ())}


def test_closed_each_pod_leaves_only_for_what_it_needs():
    manifests = rendered("values-managed.yaml", networkPolicy=CLOSED)
    found = {
        name: {cidr for cidr, _ in ways_out(manifests, labels_of(manifests, "Deployment", name))}
        for name in ("triton", "mlflow", "code", "daemon", "webserver", "webserver-readonly", "operators")
    }
    assert found == {
        "triton": {REDIS},
        "mlflow": {STORE, SQL},
        "code": {STORE, SQL, REDIS},
        "daemon": {API, STORE, SQL, REDIS},
        "webserver": {API, STORE, SQL, REDIS},
        "webserver-readonly": {STORE, SQL, REDIS},
        "operators": {LOGIN},
    }
    assert ways_out(manifests, RUN) >= {(API, (443, 6443)), (SQL, (5432,)), (REDIS, (6379,))}
    assert ways_out(manifests, TRAINING) == {(STORE, (443,))}


def test_closed_databases_of_the_release_leave_for_nowhere_and_all_may_look_up_names():
    manifests = rendered(networkPolicy={"closed": True, "outside": {"apiServer": {"cidrs": [API]}}})
    assert ways_out(manifests, labels_of(manifests, "StatefulSet", "postgresql")) == set()
    assert ways_out(manifests, labels_of(manifests, "Deployment", "triton")) == set()
    assert ways_out(manifests, RUN) == {(API, (443, 6443))}
    names, within = named(manifests, "NetworkPolicy", "default")["spec"]["egress"]
    assert [port["port"] for port in names["ports"]] == [53, 53]
    assert within == {"to": [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "headwater"}}}]}


def test_closed_every_manifest_is_valid_and_keeps_our_rules():
    manifests = rendered("values-managed.yaml", networkPolicy=CLOSED)
    for manifest in manifests:
        kubernetes_validate.validate(manifest, "1.36", strict=True)
    assert [told for manifest in manifests for told in problems(manifest)] == []
    names = [(m["kind"], m["metadata"]["name"]) for m in manifests]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("missing", "values"),
    [
        ("apiServer", {}),
        ("objectStore", {"lake": {"url": "s3://bucket/lake"}}),
        ("postgresql", {"postgresql": {"enabled": False, "storesSecret": "a", "mlflowSecret": "b"}}),
        ("redis", {"redis": {"enabled": False}, "postgresql": {"storesSecret": "a"}}),
    ],
)
def test_closed_what_a_release_needs_must_have_an_address(missing, values):
    outside = {name: way for name, way in OUTSIDE.items() if name != missing}
    told = refusal(networkPolicy={"closed": True, "outside": outside}, **values)
    assert f"set networkPolicy.outside.{missing}.cidrs" in told


def test_an_address_that_is_no_cidr_is_refused():
    outside = {**OUTSIDE, "apiServer": {"cidrs": ["kubernetes.default"]}}
    assert "/networkPolicy/outside/apiServer/cidrs/0" in refusal(networkPolicy={"closed": True, "outside": outside})
