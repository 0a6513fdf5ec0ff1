import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.clock import ReplayClock
from serving.plan import Plan
from serving.router import Answer, Request, Router
from tests.redis_server import RedisServer
from tests.serving.example import NOW, RAW, example_plan, score_directly, write_graph, write_world

REQUEST = Request(
    {
        "tailnum": np.array([[b"N1"]], dtype=object),
        "origin": np.array([[b"EWR"]], dtype=object),
        "runway": np.array([[4.0]]),
        "distance": np.array([[1400.0]]),
        "departure": np.array([[RAW["departure"]]]),
    }
)
WITHOUT_FEATURES = {name: None if "__" in name else value for name, value in RAW.items()}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    write_world(tmp_path)
    plan = example_plan(tmp_path)
    write_graph(Path(plan.champion.onnx), -2.5, plan.inputs)
    return plan


@pytest.fixture
def router(plan: Plan) -> Iterator[Router]:
    router = Router(plan)
    yield router
    router.close()


def answer(router: Router) -> Answer:
    (answer,) = router.answer([REQUEST])
    assert isinstance(answer, Answer), answer
    return answer


def expected(plan: Plan, raw: dict[str, Any]) -> float:
    return score_directly(Path(plan.champion.onnx), plan.inputs, raw)


def test_features_not_read_in_time_are_missing_and_the_answer_says_so(plan: Plan) -> None:
    hurried = Router(replace(plan, deadline_ms=1))
    late = hurried._features.read
    hurried._features.read = lambda keys, now, deadline: late(keys, now, deadline - 1)  # type: ignore[method-assign]
    degraded = answer(hurried)
    assert degraded.degraded == [True]
    assert degraded.status == [{"aircraft": "not_read", "runway": "not_read"}]
    assert degraded.value[0, 0] == expected(plan, WITHOUT_FEATURES)


def test_the_answer_says_of_each_view_why_its_features_are_null(router: Router, plan: Plan) -> None:
    assert answer(router).status == [{"aircraft": "present", "runway": "present"}]
    tensors = {**REQUEST.tensors, "tailnum": np.array([[b"N2"], [b"N1"]], dtype=object)}
    tensors = {name: np.resize(column, (2, 1)) for name, column in tensors.items()}
    ReplayClock(Path(plan.clock_file)).set(NOW + timedelta(hours=12))
    (two,) = router.answer([Request(tensors)])
    assert two.status == [  # type: ignore[union-attr]
        {"aircraft": "not_found", "runway": "outside_max_age"},
        {"aircraft": "present", "runway": "outside_max_age"},
    ]
    router.close()
    lines = [json.loads(x) for f in Path(plan.prediction_log).iterdir() for x in f.read_text().splitlines()]
    assert [line["status"]["aircraft"] for line in lines] == ["present", "not_found", "present"]


def test_features_age_by_the_replayed_clock(router: Router, plan: Plan) -> None:
    assert answer(router).value[0, 0] == expected(plan, RAW)
    ReplayClock(Path(plan.clock_file)).set(NOW + timedelta(days=30))
    assert answer(router).value[0, 0] == expected(plan, WITHOUT_FEATURES)
    Path(plan.clock_file).unlink()
    assert answer(router).value[0, 0] == expected(plan, WITHOUT_FEATURES)


def test_while_the_store_is_away_answers_are_degraded_and_logged_and_recover_when_it_is_back(
    router: Router, plan: Plan, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path(plan.online_store).rename(tmp_path / "away.db")
    for _ in range(2):
        away = answer(router)
        assert (away.degraded, away.value[0, 0]) == ([True], expected(plan, WITHOUT_FEATURES))
    Path(tmp_path / "away.db").rename(plan.online_store)
    assert (answer(router).degraded, answer(router).value[0, 0]) == ([False], expected(plan, RAW))
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 2
    assert "answers go without features: no online store at" in said[0]
    assert "read again" in said[1]


def test_a_killed_redis_degrades_answers_and_they_recover_without_a_restart(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    plan = example_plan(tmp_path, online_store=redis_server.address)
    write_world(tmp_path, online_store=redis_server.address)
    write_graph(Path(plan.champion.onnx), -2.5, plan.inputs)
    router = Router(plan)
    assert answer(router).value[0, 0] == expected(plan, RAW)
    redis_server.kill()
    for _ in range(2):
        away = answer(router)
        assert (away.degraded, away.value[0, 0]) == ([True], expected(plan, WITHOUT_FEATURES))
    redis_server.start()
    write_world(tmp_path, online_store=redis_server.address)
    assert (answer(router).degraded, answer(router).value[0, 0]) == ([False], expected(plan, RAW))
    router.close()
    lines = [json.loads(x) for f in Path(plan.prediction_log).iterdir() for x in f.read_text().splitlines()]
    assert [line["degraded"] for line in lines] == [False, True, True, False, False]


def test_a_revision_whose_store_is_not_there_does_not_load(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="publish the features first"):
        Router(replace(plan, online_store=str(tmp_path / "none.db")))


def test_an_artifact_that_is_gone_is_named(plan: Plan) -> None:
    Path(plan.champion.onnx).unlink()
    with pytest.raises(LookupError, match=r"no ONNX file at .*model\.onnx; deploy"):
        Router(plan)
