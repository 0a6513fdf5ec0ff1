"""What a scrape of the real server's metrics port says of the router."""

import os
import signal
import time
from collections import Counter
from dataclasses import replace
from typing import NamedTuple

import pytest

from serving.metric_families import FAMILIES
from serving.plan import Variant
from serving.rollout import Newcomer, begin, deploy
from serving.router_states import await_revision
from serving.triton_config import configuration_of
from tests.serving import monitoring
from tests.serving.conftest import Served, stubs
from tests.serving.example import ROW, SPEC, VIEWS
from tests.serving.scrape import Grown, Scrape, flushed

pytestmark = pytest.mark.server


class Traffic(NamedTuple):
    """Rows of 302 requests that were answered, one that was refused and two probes; canary and shadow beside."""

    versions: dict[str, str]
    answered: Counter[str]
    revision: int
    grown: Grown


def start(served: Served, variant: Variant, share: float, scale: float = 1.0) -> str:
    version, graph = served.graph(-1.0, scale)
    begin(Newcomer(SPEC, version, graph, VIEWS), served.settings, variant, share)
    return version


def processes(found: Scrape) -> set[str]:
    return {sample.labels["process"] for sample in found.samples if "process" in sample.labels}


@pytest.fixture(scope="module")
def traffic(served: Served) -> Traffic:
    versions = {"champion": served.deploy().champion.version}
    versions["canary"] = start(served, "canary", 0.5)
    versions["shadow"] = start(served, "shadow", 1.0)
    before = flushed(served)
    client = served.client()
    found = client.predict("example", [{**ROW, "tailnum": f"N{n}", "runway": n % 8} for n in range(600)])
    for _ in range(299):
        found += client.predict("example", [ROW])
    with pytest.raises(ValueError, match="infinite"):
        client.predict("example", [{**ROW, "distance": float("inf")}])
    status = served.server.status()  # probes
    answered = Counter(prediction.variant for prediction in found)
    grown, until = Grown(before, flushed(served)), time.monotonic() + 10
    while grown.by("rows_total", variant="shadow") < 899 and time.monotonic() < until:
        grown = Grown(before, flushed(served))  # a shadow scores after the answer
    return Traffic(versions, answered, status.serving["example"].revision, grown)


def test_rows_are_counted_by_the_version_that_answered_them(traffic: Traffic) -> None:
    for variant, version in traffic.versions.items():
        rows = traffic.grown.by("rows_total", model="example", version=version, variant=variant)
        assert rows == (899 if variant == "shadow" else traffic.answered[variant])
    assert traffic.answered["canary"] > 200


def test_requests_and_their_times_are_counted_by_version_and_no_probe_is(traffic: Traffic) -> None:
    grown = traffic.grown
    per_version = {v: grown.by("requests_total", version=traffic.versions[v]) for v in ("champion", "canary")}
    assert sorted(per_version.values()) == [3, 302]  # one key is always one version's
    for variant, requests in per_version.items():
        assert grown.by("answer_seconds_count", variant=variant) == requests
        assert grown.by("answer_seconds_bucket", variant=variant, le="+Inf") == requests
    assert grown.by("probes_total", outcome="answered") >= 1
    assert grown.by("probes_total", outcome="failed") == 0


def test_the_stages_of_a_batch_make_up_its_time(traffic: Traffic) -> None:
    grown = traffic.grown
    assert grown.by("batches_total") == 303
    stages = {
        s.labels["stage"]: grown.by(s.name.removeprefix("headwater_router_"), **s.labels)
        for s in grown.after.of("stage_seconds_total")
    }
    assert stages.keys() == {"parse", "read", "score", "answer", "log"}
    assert min(stages.values()) > 0
    whole = max(grown.by("answer_seconds_sum", variant=variant) for variant in ("champion", "canary"))
    assert whole < sum(stages.values()) < 1.1 * whole + 0.1


def test_an_error_counts_for_whose_fault_it_is(traffic: Traffic) -> None:
    assert traffic.grown.by("errors_total", kind="request") == 1
    assert traffic.grown.by("errors_total", kind="model") == 0
    assert traffic.grown.by("failed_rows_total") == 0


def test_views_tell_their_statuses_and_ages(traffic: Traffic) -> None:
    grown = traffic.grown
    assert grown.by("view_rows_total", view="aircraft", status="present") == 300  # N1 of the 600, and 299
    assert grown.by("view_rows_total", view="aircraft", status="not_found") == 599
    assert grown.by("view_rows_total", view="runway", status="present") == 75 + 299
    assert grown.by("feature_age_seconds_sum", view="aircraft") == 300 * 3600
    assert grown.by("feature_age_seconds_count", view="aircraft") == 300
    assert grown.by("feature_age_seconds_bucket", view="aircraft", le="3600") == 300
    assert grown.by("feature_age_seconds_bucket", view="aircraft", le="600") == 0
    assert grown.by("degraded_rows_total") == 0


def test_what_is_true_at_the_moment_is_told(traffic: Traffic) -> None:
    found = traffic.grown.after
    assert found.total("plan_revision") == traffic.revision
    assert found.total("open_sessions") >= 3
    assert found.total("open_sessions_bytes") > 0
    assert found.total("log_dropped_frames_total") == found.total("shadow_batches_left_out_total") == 0
    assert found.total("log_capacity_bytes") == 64 * 2**20


def test_dashboard_and_alerts_ask_only_for_what_a_server_tells(traffic: Traffic) -> None:
    labels = {name: set[str]() for name in traffic.grown.after.names}
    for sample in traffic.grown.after.samples:
        labels[sample.name] |= sample.labels.keys()
    wanted = monitoring.asked()
    assert len({name for name, _ in wanted}) > 20
    assert {name for name, _ in wanted} - labels.keys() == set()
    assert [(name, chosen) for name, chosen in wanted if not chosen <= labels[name]] == []


def test_every_declared_metric_is_told(traffic: Traffic) -> None:
    told = {name for name in traffic.grown.after.names if name.startswith("headwater_")}
    assert told == FAMILIES.keys()


def test_counters_go_on_after_a_killed_process(running: Served) -> None:
    running.client().predict("example", [ROW] * 5)
    before = flushed(running)
    (stub,) = stubs(running)
    os.kill(stub, signal.SIGKILL)
    assert not running.server.start().failing
    running.client().predict("example", [ROW])
    after = flushed(running)
    assert Grown(before, after).by("rows_total") == 2  # the champion's or canary's, and the shadow's
    assert {sample.labels["process"] for sample in after.of("rows_total")} == {"0"}


def test_two_processes_of_a_model_share_no_series_and_leave_none(running: Served) -> None:
    spec = SPEC.model_copy(update={"serving": SPEC.serving.model_copy(update={"processes": 2})})
    deploy(Newcomer(spec, *running.graph(-2.0), VIEWS), running.settings)
    until = time.monotonic() + 10
    while len(processes(flushed(running))) < 2:  # each tells for the first time when it does
        assert time.monotonic() < until
    running.deploy()
    for _ in range(20):
        running.client().predict("example", [ROW])
    until = time.monotonic() + 10
    while len(processes(one := flushed(running))) > 1 and time.monotonic() < until:
        pass  # those that were replaced are writing out their logs
    assert len(processes(one)) == 1
    assert one.total("rows_total") == 20


def test_versions_that_left_long_ago_leave_the_metrics_too(running: Served) -> None:
    plan, repository = running.deploy(), running.server.repository
    for number in range(1, 7):
        champion = replace(plan.champion, version=f"named-{number}")
        plan = replace(plan, revision=plan.revision + 1, champion=champion)
        repository.write_plan(plan)
        repository.point(plan, proven=True)
        await_revision(repository.home, "example", plan.revision, configuration_of(plan))
        running.client().predict("example", [ROW])
        found = flushed(running)
    known = {sample.labels["version"] for sample in found.of("rows_total")}
    assert known == {f"named-{number}" for number in range(2, 7)}  # the one that answers and the four before it
