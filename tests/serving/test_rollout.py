"""The real Triton: canary, shadow, promotion and rollback take over without a load and without a failed request."""

import os
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ml.feature_views import FeatureView
from ml.packed import Field
from ml.spec import ModelSpec
from serving.build_plan import build_plan
from serving.log_reader import log_schema, read_new
from serving.plan import Arm, Input, Variant
from serving.prediction import Prediction
from serving.rollout import DeploymentError, Newcomer, begin, deploy, end, promote, rollback
from serving.router_states import living
from serving.triton_config import configuration_of
from tests.serving.conftest import Served, stubs
from tests.serving.example import NOW, ROW, SPEC, VIEWS, write_online_rows

pytestmark = pytest.mark.server

ROWS = [{**ROW, "tailnum": f"N{n}"} for n in range(200)]
HISTORY = FeatureView(
    name="history",
    entities=("aircraft",),
    join_keys=("tailnum",),
    join_key_kinds=("string",),
    ttl=timedelta(days=3),
    owner="team:tests",
    online=True,
    description="What takes long to read.",
    fields=(Field("trips", "float"), Field("notes", "string")),
)


def build_inputs(running: Served, spec: ModelSpec) -> tuple[Input, ...]:
    return build_plan(spec, (*VIEWS, HISTORY), 1, "0", Path("none"), running.settings).champion.inputs


def newcomer(running: Served, **more: Any) -> Newcomer:
    return Newcomer(SPEC, *running.graph(**{"bias": 1.0, **more}), VIEWS)


def versions(running: Served) -> list[str]:
    return [p.model_version for p in running.client().predict("example", ROWS)]


def start(running: Served, variant: Variant, share: float, new: Newcomer | None = None) -> Newcomer:
    new = new or newcomer(running)
    begin(new, running.settings, variant, share, by="a test")
    return new


def test_a_canary_answers_its_share_is_promoted_and_rolled_back_in_the_same_process(running: Served) -> None:
    first = running.deploy().champion.version
    processes = stubs(running)
    new = start(running, "canary", 0.3)
    found = running.client().predict("example", ROWS)
    canary = {n for n, p in enumerate(found) if p.variant == "canary"}
    assert {found[n].model_version for n in canary} == {new.version}
    assert 30 < len(canary) < 90
    assert running.client().predict("example", [ROWS[n] for n in canary])[0].variant == "canary"
    start(running, "canary", 0.8, new)
    larger = {n for n, version in enumerate(versions(running)) if version == new.version}
    assert canary < larger
    plan = promote("example", running.settings, new.version, by="a test", why="it is good")
    assert set(versions(running)) == {new.version}
    assert plan.arms[0].variant == "previous"
    assert (plan.change.action, plan.change.by, plan.change.why) == ("promote", "a test", "it is good")
    started = time.monotonic()
    rollback("example", running.settings)
    assert set(versions(running)) == {first}
    assert time.monotonic() - started < 2.0
    assert stubs(running) == processes


def test_a_shadow_is_logged_and_answers_nobody_until_it_ends(running: Served) -> None:
    champion = running.deploy().champion.version
    new = start(running, "shadow", 1.0)
    assert set(versions(running)) == {champion}
    plan = running.server.repository.deployed("example")
    assert plan is not None
    until = time.monotonic() + 10
    while time.monotonic() < until:
        frame = read_new(Path(plan.prediction_log), log_schema(plan))[0].filter(model_version=new.version)
        if frame.height == len(ROWS):
            break
        time.sleep(0.1)
    assert (frame.height, set(frame["variant"]), frame["answered"].any()) == (len(ROWS), {"shadow"}, False)
    end("example", running.settings, new.version)
    assert running.server.repository.history("example")[-1].arms == tuple(a for a in plan.arms if a.variant != "shadow")


def test_who_cannot_serve_beside_the_champion_is_refused_and_nothing_changes(running: Served) -> None:
    good = running.deploy()
    with pytest.raises(DeploymentError, match=rf"no probabilities.*version {good.champion.version}, keeps serving"):
        start(running, "canary", 0.5, newcomer(running, scale=2.0))
    with pytest.raises(ValueError, match="is the champion already"):
        start(running, "canary", 0.5, Newcomer(SPEC, good.champion.version, Path(good.champion.onnx), VIEWS))
    more = SPEC.model_validate(
        {**SPEC.model_dump(), "request": [*SPEC.model_dump()["request"], {"name": "seats", "kind": "numeric"}]}
    )
    with pytest.raises(ValueError, match="requests, answers or views differ; deploy it"):
        start(running, "canary", 0.5, Newcomer(more, *running.graph(1.0), VIEWS))
    with pytest.raises(LookupError, match="version 999 of 'example' does not serve beside the champion"):
        promote("example", running.settings, "999")
    assert running.server.repository.deployed("example") == good
    assert set(versions(running)) == {good.champion.version}


def test_every_process_of_a_router_takes_over_and_a_dead_one_is_found(running: Served) -> None:
    two = SPEC.model_copy(update={"serving": SPEC.serving.model_copy(update={"processes": 2})})
    first = deploy(Newcomer(two, *running.graph(-1.0), VIEWS), running.settings)
    states = list(living(running.settings.serving_home, "example", configuration_of(first)))
    assert [state.revision for state in states] == [first.revision] * 2
    plan = deploy(Newcomer(two, *running.graph(-2.0), VIEWS), running.settings)
    seen = {p.model_version for _ in range(50) for p in running.client().predict("example", [ROW])}
    assert seen == {plan.champion.version}
    os.kill(states[0].pid, signal.SIGKILL)
    time.sleep(0.2)
    assert "example" in running.server.status().failing
    assert not running.server.start().failing
    running.deploy()


def test_changes_under_load_fail_no_request_and_show_no_version_before_its_time(running: Served) -> None:
    running.deploy()
    failures: list[Exception] = []
    seen: list[tuple[float, str]] = []
    done = threading.Event()

    def ask() -> None:
        client = running.client()
        while not done.is_set():
            try:
                seen.append((time.monotonic(), client.predict("example", [ROW])[0].model_version))
            except Exception as error:
                failures.append(error)

    asker = threading.Thread(target=ask)
    asker.start()
    one = newcomer(running)
    started = time.monotonic()
    start(running, "canary", 1.0, one)
    promote("example", running.settings, one.version)
    running.deploy()
    finished = time.monotonic()
    rollback("example", running.settings)
    done.set()
    asker.join()
    assert not failures, failures[0]
    assert not [version for at, version in seen if version == one.version and at < started]
    assert one.version in {version for at, version in seen if at < finished}


@pytest.mark.parametrize("mode", ["pooled", "own"])
def test_nobody_waits_for_a_view_that_only_the_canary_reads(running: Served, mode: str) -> None:
    serving = SPEC.serving.model_copy(update={"deadline_ms": 20_000, "mode": mode})
    patient = SPEC.model_copy(update={"serving": serving})
    deploy(Newcomer(patient, *running.graph(-3.0), VIEWS), running.settings)
    write_online_rows(running.settings.online_store, HISTORY, [({"tailnum": "N0"}, (1.0, ""), NOW)])
    curious = patient.model_copy(update={"features": (*SPEC.features, "history:trips")})
    version, graph = running.graph(1.0, inputs=build_inputs(running, curious))
    begin(Newcomer(curious, version, graph, (*VIEWS, HISTORY)), running.settings, "canary", 0.5)
    found = running.client().predict("example", ROWS)
    slow = [row for row, p in zip(ROWS, found, strict=True) if p.variant == "canary"]
    usual = next(row for row, p in zip(ROWS, found, strict=True) if p.variant == "champion")
    rows: list[Any] = [({"tailnum": row["tailnum"]}, (3.0, "x" * 2_000_000), NOW) for row in slow]
    write_online_rows(running.settings.online_store, HISTORY, rows)
    answers: list[list[Prediction]] = []
    waited: list[float] = []
    started = time.monotonic()
    asker = threading.Thread(target=lambda: answers.append(running.client(20.0).predict("example", slow)))
    asker.start()
    client = running.client()
    while asker.is_alive():
        asked = time.monotonic()
        (one,) = client.predict("example", [usual])
        waited.append(time.monotonic() - asked)
        assert (one.variant, one.degraded, one.feature_status["history"]) == ("champion", False, "not_needed")
    taken = time.monotonic() - started
    assert {(p.variant, p.feature_status["history"]) for p in answers[0]} == {("canary", "present")}
    assert len(waited) >= 5
    assert sorted(waited)[len(waited) // 2] < taken / 5
    mixed = running.client(20.0).predict("example", [*slow[:2], usual])
    assert [p.variant for p in mixed] == ["canary", "canary", "champion"]
    running.deploy()


def test_a_pointer_to_a_plan_that_is_damaged_changes_nothing(running: Served) -> None:
    good = running.deploy()
    pointer = running.server.repository.pointer("example")
    told = pointer.read_text()
    pointer.write_text("{half")
    time.sleep(0.3)
    assert set(versions(running)) == {good.champion.version}
    pointer.write_text(told)
    assert good.arms == (Arm("previous", good.arms[0].version),)
    assert set(versions(running)) == {good.champion.version}
