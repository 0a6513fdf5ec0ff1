import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.clock import ReplayClock
from serving.answer import Answer, Request
from serving.plan import Plan
from serving.router import Router
from tests.redis_server import RedisServer
from tests.serving.example import NOW, RAW, example_plan, score_directly, write_graph, write_world
from tests.serving.versions import REQUEST, answer, logged

WITHOUT_FEATURES = {name: None if "__" in name else value for name, value in RAW.items()}


@pytest.fixture
def router(plan: Plan) -> Iterator[Router]:
    router = Router(plan)
    yield router
    router.close()


def statuses(found: Answer) -> list[dict[str, str]]:
    return [json.loads(text) for text in found.status]


def expected(plan: Plan, raw: dict[str, Any]) -> float:
    return score_directly(Path(plan.champion.onnx), plan.champion.inputs, raw)


def test_what_is_logged_is_what_the_graph_was_given_and_answered(router: Router, plan: Plan) -> None:
    many = {name: np.resize(column, (40, 1)) for name, column in REQUEST.tensors.items()}
    many["distance"] = np.arange(40.0).reshape(-1, 1)
    bad = {**REQUEST.tensors, "distance": np.array([[np.inf]])}
    requests = [REQUEST, Request(bad), Request(many, probe=True), Request(many), REQUEST]
    answers = router.answer(requests)
    router.close()
    found = logged(plan)
    assert found.height == 42
    kept = [answer for answer, request in zip(answers, requests, strict=True) if not request.probe]
    ids = [name for answer in kept if isinstance(answer, Answer) for name in answer.prediction_ids]
    assert found["prediction_id"].to_list() == ids
    assert len(set(ids)) == 42
    for row in (found.row(0, named=True), found.row(17, named=True)):
        raw = {name: row[name] for name in RAW}
        assert raw == {**RAW, "distance": row["distance"]}
        assert row["probability"] == expected(plan, raw)
    assert found["distance"].to_list() == [1400.0, *range(40), 1400.0]
    assert found["taken_ms"].min() > 0  # type: ignore[operator]


def test_an_answer_says_how_old_its_features_are_and_whether_to_act(router: Router, plan: Plan) -> None:
    assert answer(router, REQUEST).ages.tolist() == [[3600.0, 3600.0]]
    assert answer(router, REQUEST).decision is None
    unknown = {**REQUEST.tensors, "tailnum": np.array([[b"N2"]], dtype=object)}
    (found,) = router.answer([Request(unknown)])
    assert isinstance(found, Answer)
    assert np.isnan(found.ages[0, 0])
    value = float(answer(router, REQUEST).value[0, 0])
    for threshold, act in ((value, True), (value + 1e-6, False), (0.0, True), (1.0001, False)):
        decided = Router(replace(plan, champion=replace(plan.champion, threshold=threshold)))
        assert answer(decided, REQUEST).decision == [act]
        decided.close()


def test_features_not_read_in_time_are_missing_and_the_answer_says_so(plan: Plan) -> None:
    hurried = Router(replace(plan, deadline_ms=30))
    hurried._lineup.close()  # who locks the file must be alone with it
    with contextlib.closing(sqlite3.connect(plan.online_store, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        degraded = answer(hurried, REQUEST)
    assert degraded.degraded.tolist() == [True]
    assert statuses(degraded) == [{"aircraft": "not_read", "runway": "not_read"}]
    hurried.close()
    assert logged(plan)["degraded"].to_list() == [True]
    assert degraded.value[0, 0] == expected(plan, WITHOUT_FEATURES)


def test_the_answer_says_of_each_view_why_its_features_are_null(router: Router, plan: Plan) -> None:
    assert statuses(answer(router, REQUEST)) == [{"aircraft": "present", "runway": "present"}]
    tensors = {**REQUEST.tensors, "tailnum": np.array([[b"N2"], [b"N1"]], dtype=object)}
    tensors = {name: np.resize(column, (2, 1)) for name, column in tensors.items()}
    ReplayClock(Path(plan.clock_file)).set(NOW + timedelta(hours=12))
    (two,) = router.answer([Request(tensors)])
    assert statuses(two) == [  # type: ignore[arg-type]
        {"aircraft": "not_found", "runway": "outside_max_age"},
        {"aircraft": "present", "runway": "outside_max_age"},
    ]
    router.close()
    assert logged(plan)["aircraft__status"].to_list() == ["present", "not_found", "present"]


def test_features_age_by_the_replayed_clock(router: Router, plan: Plan) -> None:
    assert answer(router, REQUEST).value[0, 0] == expected(plan, RAW)
    ReplayClock(Path(plan.clock_file)).set(NOW + timedelta(days=30))
    assert answer(router, REQUEST).value[0, 0] == expected(plan, WITHOUT_FEATURES)
    Path(plan.clock_file).unlink()
    assert answer(router, REQUEST).value[0, 0] == expected(plan, WITHOUT_FEATURES)


def test_while_the_store_is_away_answers_are_degraded_and_logged_and_recover_when_it_is_back(
    router: Router, plan: Plan, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path(plan.online_store).rename(tmp_path / "away.db")
    for _ in range(2):
        away = answer(router, REQUEST)
        assert (away.degraded.tolist(), away.value[0, 0]) == ([True], expected(plan, WITHOUT_FEATURES))
    Path(tmp_path / "away.db").rename(plan.online_store)
    back = answer(router, REQUEST)
    assert (back.degraded.tolist(), back.value[0, 0]) == ([False], expected(plan, RAW))
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 2
    assert "answers go without features: no online store at" in said[0]
    assert "read again" in said[1]


def test_a_killed_redis_degrades_answers_and_they_recover_without_a_restart(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    plan = example_plan(tmp_path, online_store=redis_server.address)
    write_world(tmp_path, online_store=redis_server.address)
    write_graph(Path(plan.champion.onnx), -2.5, plan.champion.inputs)
    router = Router(plan)
    assert answer(router, REQUEST).value[0, 0] == expected(plan, RAW)
    redis_server.kill()
    for _ in range(2):
        away = answer(router, REQUEST)
        assert (away.degraded.tolist(), away.value[0, 0]) == ([True], expected(plan, WITHOUT_FEATURES))
    redis_server.start()
    write_world(tmp_path, online_store=redis_server.address)
    back = answer(router, REQUEST)
    assert (back.degraded.tolist(), back.value[0, 0]) == ([False], expected(plan, RAW))
    router.close()
    assert logged(plan)["degraded"].to_list() == [False, True, True, False]


def test_a_revision_whose_store_is_not_there_does_not_load(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="publish the features first"):
        Router(replace(plan, online_store=str(tmp_path / "none.db")))


def test_an_artifact_that_is_gone_is_named(plan: Plan) -> None:
    Path(plan.champion.onnx).unlink()
    with pytest.raises(LookupError, match=r"no ONNX file at .*model\.onnx; deploy"):
        Router(plan)
