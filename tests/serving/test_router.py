from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.clock import ReplayClock
from serving.online_features import OnlineRow
from serving.plan import Plan
from serving.router import Answer, Request, Router
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


def test_features_not_read_in_time_are_missing_and_the_answer_says_so(
    router: Router, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(view, entities, now, deadline):  # type: ignore[no-untyped-def]
        return [OnlineRow((None,) * len(view.fields), None, "not_read")] * len(entities)

    assert answer(router).degraded == [False]
    monkeypatch.setattr(router._features, "read", late)
    degraded = answer(router)
    assert degraded.degraded == [True]
    assert degraded.probability[0, 0] == expected(plan, WITHOUT_FEATURES)


def test_features_age_by_the_replayed_clock(router: Router, plan: Plan) -> None:
    assert answer(router).probability[0, 0] == expected(plan, RAW)
    ReplayClock(Path(plan.clock_file)).set(NOW + timedelta(days=30))
    assert answer(router).probability[0, 0] == expected(plan, WITHOUT_FEATURES)
    Path(plan.clock_file).unlink()
    assert answer(router).probability[0, 0] == expected(plan, WITHOUT_FEATURES)


def test_a_store_that_vanished_is_an_error_and_not_a_guess(router: Router, plan: Plan) -> None:
    Path(plan.online_store).unlink()
    (error,) = router.answer([REQUEST])
    assert isinstance(error, LookupError)
    assert "publish the features first" in str(error)


def test_an_artifact_that_is_gone_is_named(plan: Plan) -> None:
    Path(plan.champion.onnx).unlink()
    with pytest.raises(LookupError, match=r"no ONNX file at .*model\.onnx; deploy"):
        Router(plan)
