import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ml.spec import ModelSpec
from serving.build_plan import build_plan
from serving.plan import Arm
from serving.plan_change import beside
from serving.plan_json import load_plan, parse_plan
from tests.serving.example import AIRCRAFT, RUNWAY, SPEC, example_plan, settings_at


def test_a_plan_survives_json(tmp_path: Path) -> None:
    plan = example_plan(tmp_path)
    assert parse_plan(plan.to_json()) == plan


def test_a_plan_has_each_join_key_and_request_field_once(tmp_path: Path) -> None:
    plan = example_plan(tmp_path)
    assert [(f.name, f.dtype) for f in plan.request] == [
        ("tailnum", "BYTES"),
        ("origin", "BYTES"),
        ("runway", "FP64"),
        ("distance", "FP64"),
        ("departure", "FP64"),
    ]


def test_a_feature_from_which_time_elapses_is_a_time(tmp_path: Path) -> None:
    kinds = {field.column: field.kind for field in example_plan(tmp_path).champion.inputs}
    assert kinds["aircraft__last_arrived_at"] == "time"
    assert kinds["runway__departures"] == "numeric"
    assert kinds["aircraft__last_dest"] == "categorical"


@pytest.mark.parametrize(("kind", "together"), [("time", True), ("", True), ("local_time", False)])
def test_versions_stand_beside_each_other_unless_a_field_is_known_to_mean_another_thing(
    tmp_path: Path, kind: Any, together: bool
) -> None:
    plan, new = example_plan(tmp_path), example_plan(tmp_path, 2, "2")
    old = replace(plan, request=tuple(replace(f, kind=kind) if f.kind == "time" else f for f in plan.request))
    made = beside(old, Arm("canary", new.champion, 0.5), new)
    assert (made is not None) == together
    assert made is None or made.request == old.request


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"deadline_ms": "soon"}, r"plan.deadline_ms is 'soon'; it must be int"),
        ({"champion": {"version": "1"}}, r"plan.champion lacks \['inputs', 'onnx'\]"),
        ({"colour": "red"}, r"unknown \['colour'\]"),
        ({"request": [{"name": "x", "dtype": "INT8"}]}, r"plan.request\[0\].dtype is 'INT8'"),
        ({"request": []}, r"join key 'tailnum' of view 'aircraft' is not among the request's inputs"),
        (
            {"views": []},
            r"input 'aircraft__last_arrived_at' reads 'last_arrived_at' of aircraft, which lacks it",
        ),
        ({"revision": 0}, "must be positive"),
        ({"model": "../etc"}, "lower_snake_case"),
    ],
)
def test_a_bad_plan_is_refused_with_the_field(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    data = {**json.loads(example_plan(tmp_path).to_json()), **change}
    with pytest.raises(ValueError, match=message):
        parse_plan(json.dumps(data))


def test_a_damaged_plan_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{half")
    with pytest.raises(ValueError, match=r"plan.json holds no valid plan.*deploy the model again"):
        load_plan(tmp_path / "plan.json")


def test_views_that_do_not_fit_the_spec_are_refused(tmp_path: Path) -> None:
    def build(*views: Any, spec: ModelSpec = SPEC) -> None:
        build_plan(spec, views, 1, "1", tmp_path / "model.onnx", settings_at(tmp_path))

    with pytest.raises(LookupError, match="no feature view 'runway'"):
        build(AIRCRAFT)
    with pytest.raises(ValueError, match="'runway' is not online"):
        build(AIRCRAFT, replace(RUNWAY, online=False))
    with pytest.raises(LookupError, match="has no feature 'wet'"):
        build(AIRCRAFT, replace(RUNWAY, fields=RUNWAY.fields[:1]))
    with pytest.raises(ValueError, match="both a string and a number"):
        build(AIRCRAFT, replace(RUNWAY, join_key_kinds=("int", "int")))


def test_a_plan_made_when_the_log_could_be_switched_off_is_read(tmp_path: Path) -> None:
    plan = example_plan(tmp_path)
    old = {**json.loads(plan.to_json()), "log": {"enabled": True, "features": True}}
    assert parse_plan(json.dumps(old)) == plan


def test_a_plan_made_when_there_was_one_version_is_read(tmp_path: Path) -> None:
    plan = example_plan(tmp_path)
    old = json.loads(plan.to_json())
    old["inputs"] = old["champion"].pop("inputs")
    assert parse_plan(json.dumps(old)) == plan
