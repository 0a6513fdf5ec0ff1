"""While features are not read, answers are averaged over rows of the training set."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from serving.answer import Answer, Request
from serving.build_defaults import ROWS, build_defaults
from serving.log_reader import log_schema, read_new
from serving.plan import Plan
from serving.router import Router
from tests.serving.example import NOW, RAW, SPEC, example_plan, score_directly, write_graph, write_world
from tests.serving.versions import REQUEST

ASKED = datetime(2013, 1, 5, tzinfo=UTC)


def training_rows(count: int = 40) -> pl.DataFrame:
    random = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "prediction_time": [ASKED + timedelta(hours=n) for n in range(count)],
            "aircraft__last_arrived_at": [
                None if n % 5 == 0 else int((ASKED + timedelta(hours=n - 3)).timestamp()) for n in range(count)
            ],
            "aircraft__last_delay": random.normal(10, 40, count),
            "aircraft__last_dest": ["MIA" if n % 2 else None for n in range(count)],
            "runway__departures": random.integers(0, 40, count),
            "runway__wet": random.random(count) < 0.5,
        }
    )


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    write_world(tmp_path)
    plan = example_plan(tmp_path)
    graph = write_graph(Path(plan.champion.onnx), -2.5, plan.champion.inputs)
    path = graph.with_name("defaults.json")
    path.write_text(json.dumps(build_defaults(SPEC, training_rows())))
    return replace(plan, champion=replace(plan.champion, defaults=str(path)))


def expected(plan: Plan, request: dict[str, Any]) -> float:
    """The mean over the rows of the file, each scored by itself."""
    told = json.loads(Path(plan.champion.defaults).read_text())
    found = []
    for place in range(ROWS):
        raw = {name: values[place] for name, values in told.items()}
        if raw["aircraft__last_arrived_at"] is not None:
            raw["aircraft__last_arrived_at"] += NOW.timestamp()
        found.append(score_directly(Path(plan.champion.onnx), plan.champion.inputs, {**RAW, **request, **raw}))
    return float(np.mean(found))


def test_a_store_that_is_away_is_answered_without_by_the_mean_over_training_rows(plan: Plan, tmp_path: Path) -> None:
    router = Router(plan)
    with_features = router.answer([REQUEST])[0]
    Path(plan.online_store).rename(tmp_path / "away.db")
    tensors = {name: np.resize(column, (3, 1)) for name, column in REQUEST.tensors.items()}
    tensors["distance"] = np.array([[1.0], [500.0], [np.nan]])
    (away,) = router.answer([Request(tensors)])
    (tmp_path / "away.db").rename(plan.online_store)
    back = router.answer([REQUEST])[0]
    router.close()
    assert isinstance(away, Answer)
    assert away.degraded.all()
    assert away.value[:, 0] == pytest.approx([expected(plan, {"distance": d}) for d in (1.0, 500.0, None)], abs=1e-6)
    assert isinstance(with_features, Answer)
    assert isinstance(back, Answer)
    assert back.value == with_features.value
    logged = read_new(Path(plan.prediction_log), log_schema(plan))[0].filter("degraded")
    assert logged["probability"].to_list() == away.value[:, 0].tolist()
    assert logged["runway__departures"].null_count() == 3


def test_the_rows_are_whole_rows_of_training_with_instants_after_the_question(plan: Plan) -> None:
    told = build_defaults(SPEC, training_rows())
    rows = set(zip(*training_rows().select(list(told)[1:]).to_dict(as_series=False).values(), strict=True))
    assert set(zip(*list(told.values())[1:], strict=True)) <= rows
    assert set(told["aircraft__last_arrived_at"]) == {None, -3 * 3600.0}
    assert told == build_defaults(SPEC, training_rows())
    with pytest.raises(ValueError, match="no training rows of 'example'"):
        build_defaults(SPEC, training_rows().clear())


def test_a_file_of_other_features_does_not_load(plan: Plan) -> None:
    Path(plan.champion.defaults).write_text(json.dumps({"other": [1.0]}))
    with pytest.raises(ValueError, match=r"defaults.json holds \['other'\], not the features"):
        Router(plan)
    Path(plan.champion.defaults).write_text("{half")
    with pytest.raises(ValueError, match=r"defaults\.json holds no rows"):
        Router(plan)
