"""What is said of one replica: busy or stuck, ready or by a plan that was refused, and how long requests wait there."""

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from serving import replicas
from serving.channel import BusyError
from serving.plan import Plan
from serving.ready import unready
from serving.replicas import Replicas
from serving.rollout import Newcomer, deploy
from tests.deploy.chart import ROOT, named, rendered
from tests.serving.conftest import Served, stubs
from tests.serving.example import ROW, SPEC, VIEWS
from tests.serving.scrape import Scrape, scrape

pytestmark = pytest.mark.server
TWO = {"processes": 2}  # another configuration
MINUTE = 60.0


def deploy_with(running: Served, **serving) -> Plan:
    spec = SPEC.model_copy(update={"serving": SPEC.serving.model_copy(update=serving)})
    return deploy(Newcomer(spec, *running.graph(-3.0), VIEWS), running.settings)


def in_a_cluster(running: Served) -> Replicas:
    return Replicas(running.settings.model_copy(update={"triton_replicas": running.server.url}))


def router(running: Served) -> int:
    """Return the router's process, once those of another configuration have ended."""
    until = time.monotonic() + 10
    while True:
        found = [pid for pid in stubs(running) if b"/example/" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        if len(found) == 1:
            return found[0]
        assert time.monotonic() < until, found
        time.sleep(0.05)


@contextmanager
def stopped_router(running: Served) -> Iterator[None]:
    """The router computes nothing while this is entered, as on a machine that is too slow; Triton minds it late."""
    stub = router(running)
    os.kill(stub, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(stub, signal.SIGCONT)


def await_waiting(running: Served) -> None:
    until = time.monotonic() + 10
    while not any(s.value for s in scrape(running).samples if s.name == "nv_inference_pending_request_count"):
        assert time.monotonic() < until, "no request waits"
        time.sleep(0.05)


def test_a_busy_replica_is_told_from_one_to_delete(running: Served, monkeypatch) -> None:
    deploy_with(running, max_queue=1, max_wait_ms=60_000)
    monkeypatch.setattr(replicas, "LEAVE_SECONDS", 0.5)
    with stopped_router(running):
        with pytest.raises(TimeoutError, match=f"the replica of Triton at {running.server.url} lives and is slow"):
            in_a_cluster(running)._each(lambda control: control.probe("example", 0.3))  # the router has this one
        asker = threading.Thread(target=lambda: running.client(30).predict("example", [ROW]))
        asker.start()  # this one waits, and then the queue is full
        await_waiting(running)
        with pytest.raises(BusyError, match=r"was busy for 0\.5 s; it lives, so leave its pod") as told:
            in_a_cluster(running).probe("example")
        assert "delete" not in str(told.value)
    asker.join()
    assert in_a_cluster(running).probe("example").model_version


def test_who_answers_by_a_plan_that_was_refused_is_not_ready(running: Served) -> None:
    good = deploy_with(running)
    bad = deploy_with(running, **TWO)
    assert list(unready(running.settings, 5.0)) == []
    repository = running.server.repository
    repository.point(good, proven=True)  # as when `bad` is refused: it serves until the configuration is loaded again
    told = f"example answers by revision {bad.revision}, which was refused; {good.revision} is deployed"
    assert list(unready(running.settings, 5.0)) == [told]
    repository.point(bad, proven=False)
    assert list(unready(running.settings, 5.0)) == []  # it is being tried
    repository.point(bad, proven=True)
    assert list(unready(running.settings, 5.0)) == []


def test_an_old_own_model_that_cannot_be_removed_does_not_refuse_the_plan_that_serves(running: Served) -> None:
    own = SPEC.model_copy(update={"name": "hot", "serving": SPEC.serving.model_copy(update={"mode": "own"})})
    models = running.server.repository.models
    plans = [deploy(Newcomer(own, *running.graph(bias), VIEWS), running.settings) for bias in (-2.5, -2.0)]
    stray = models / "hot__stray"
    stray.write_text("a file is no model, and no folder that could be removed")
    served = deploy(Newcomer(own, *running.graph(-1.5), VIEWS), running.settings)
    assert running.client().predict("hot", [ROW])[0].model_version == served.champion.version
    assert not running.server.repository.left_unproven("hot")
    stray.unlink()
    last = deploy(Newcomer(own, *running.graph(-1.0), VIEWS), running.settings)  # it tries again
    left = {path.name for path in models.glob("hot__*")}
    assert left == {last.champion.own, served.champion.own}
    assert not left & {plan.champion.own for plan in plans}
    shutil.rmtree(running.settings.root / "trained")


def grown(before: Scrape, after: Scrape, name: str) -> float:
    """Return by how much a counter grew, as Prometheus counts: each series by itself, without those that ended."""
    then = {tuple(s.labels.items()): s.value for s in before.samples if s.name == name}
    now = {tuple(s.labels.items()): s.value for s in after.samples if s.name == name}
    assert now, f"Triton tells nothing of {name}"
    return sum(value - then.get(labels, 0.0) for labels, value in now.items())


def queue_microseconds(before: Scrape, after: Scrape) -> float:
    """Return what the adapter's rule makes of two scrapes of a pod that are a minute apart."""
    (rule,) = yaml.safe_load((ROOT / "deploy" / "prometheus" / "adapter.yml").read_text())["rules"]
    summed = re.compile(r"sum\(rate\((\w+)\{<<\.LabelMatchers>>\}\[1m\]\)\) by \(<<\.GroupBy>>\)")

    def rate(found: re.Match[str]) -> str:
        return repr(grown(before, after, found[1]) / MINUTE)

    return float(eval(summed.sub(rate, rule["metricsQuery"]), {"__builtins__": {}, "clamp_min": max}))


def test_the_autoscaler_s_number_is_the_wait_of_a_request_and_zero_where_nobody_asks(running: Served) -> None:
    deploy_with(running)
    before = scrape(running)
    for _ in range(20):
        running.client().predict("example", [ROW])
    counters = ("nv_inference_queue_duration_us", "nv_inference_request_success")
    until = time.monotonic() + 10
    while grown(before, after := scrape(running), counters[1]) < 20:  # Triton counts after it has answered
        assert time.monotonic() < until
        time.sleep(0.05)
    waited, asked = (grown(before, after, name) for name in counters)
    assert asked >= 20
    assert queue_microseconds(before, after) == pytest.approx(waited / asked)
    assert 0 < waited / asked < 1e6
    assert queue_microseconds(after, after) == 0.0


def test_the_adapter_gives_the_metric_that_the_chart_scales_on() -> None:
    (rule,) = yaml.safe_load((ROOT / "deploy" / "prometheus" / "adapter.yml").read_text())["rules"]
    (metric,) = named(rendered("values-managed.yaml"), "HorizontalPodAutoscaler", "triton")["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
