"""Several versions in one router: who answers whom, what is logged, and that a swap is whole."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from serving.answer import Answer, Request
from serving.plan import Plan, Variant, Version
from serving.router import Router
from tests.serving.example import write_graph
from tests.serving.versions import ROWS, answer, beside, logged, request, version


def test_a_canary_gets_its_share_of_the_keys_and_the_same_ones_again(plan: Plan, routers: list[Router]) -> None:
    routers.append(router := Router(beside(plan, ("canary", version(plan, "2"), 0.2))))
    first = answer(router)
    assert 0.16 < first.versions.count("2") / ROWS < 0.24
    assert [v == "canary" for v in first.variants] == [v == "2" for v in first.versions]
    assert answer(router).versions == first.versions
    one_by_one = [answer(router, Request({n: c[i : i + 1] for n, c in request().tensors.items()})) for i in range(30)]
    assert [a.versions[0] for a in one_by_one] == first.versions[:30]
    values = {v: first.value[np.array(first.versions) == v] for v in ("1", "2")}
    assert values["2"].min() > values["1"].max()


def test_a_larger_share_keeps_its_keys_and_another_canary_gets_others(plan: Plan, routers: list[Router]) -> None:
    def keys(name: str, share: float) -> set[int]:
        routers.append(router := Router(beside(plan, ("canary", version(plan, name), share))))
        return {row for row, v in enumerate(answer(router).versions) if v == name}

    small, large, other = keys("2", 0.1), keys("2", 0.5), keys("3", 0.1)
    assert small < large
    assert len(small & other) < 0.3 * len(small)
    assert keys("2", 1.0) == set(range(ROWS))
    assert keys("2", 0.0) == set()


def test_canary_and_challenger_each_get_their_share_of_all(plan: Plan, routers: list[Router]) -> None:
    arms: list[tuple[Variant, Version, float]] = [("canary", version(plan, "2"), 0.3)]
    arms.append(("challenger", version(plan, "3"), 0.5))
    routers.append(router := Router(beside(plan, *arms)))
    found = answer(router).versions
    assert [round(found.count(v) / ROWS, 1) for v in ("1", "2", "3")] == [0.2, 0.3, 0.5]


def test_the_share_is_drawn_by_the_fields_that_the_plan_names(plan: Plan, routers: list[Router]) -> None:
    by_origin = replace(beside(plan, ("canary", version(plan, "2"), 0.5)), sticky_by=("origin",))
    routers.append(router := Router(by_origin))
    assert len(set(answer(router).versions)) == 1


def test_a_shadow_scores_and_is_logged_and_answers_nobody(plan: Plan, routers: list[Router]) -> None:
    shadowed = beside(plan, ("shadow", version(plan, "2"), 1.0), ("shadow", version(plan, "3"), 0.25))
    router = Router(shadowed)
    found = answer(router, request(200))
    assert set(found.versions) == {"1"}
    answer(router, request(7, probe=True))
    router.close()
    lines = logged(shadowed)
    assert lines.filter(pl.col("answered"))["prediction_id"].to_list() == found.prediction_ids
    shadow = lines.filter(variant="shadow", model_version="2")
    assert (shadow["prediction_id"].to_list(), shadow["answered"].any()) == (found.prediction_ids, False)
    assert shadow["probability"].min() > lines.filter(variant="champion")["probability"].max()  # type: ignore[operator]
    assert 20 < lines.filter(model_version="3").height < 80


@pytest.mark.parametrize("fault", ["no probabilities", "gone"])
def test_a_canary_that_fails_is_answered_by_the_champion_and_the_failure_is_logged(
    plan: Plan, fault: str, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = beside(plan, ("canary", version(plan, "2", scale=2.0), 0.5))
    router = Router(bad)
    if fault == "gone":  # as if it had left for want of memory
        Path(bad.arms[0].version.onnx).unlink()
        router._sessions.forget([plan.champion.onnx])
    found = answer(router)
    assert set(found.versions) == {"1"}
    assert np.all((found.value >= 0) & (found.value <= 1))
    answer(router)
    router.close()
    assert capfd.readouterr().err.count("the champion answers") == 1
    lines = logged(bad)
    assert lines.filter(answered=True).height == 2 * ROWS
    failed = lines.filter(answered=False)
    assert 0.8 * ROWS < failed.height < 1.2 * ROWS
    assert set(failed["variant"]) == {"canary"}
    if fault == "gone":
        assert failed["probability"].null_count() == failed.height


def test_each_version_decides_by_its_own_threshold_and_reads_its_own_features(
    plan: Plan, routers: list[Router]
) -> None:
    without = tuple(i for i in plan.champion.inputs if i.column != "aircraft__last_delay")
    other = version(plan, "2")
    write_graph(Path(other.onnx), 1.0, without)
    other = replace(other, inputs=without, threshold=1.0)
    decided = beside(replace(plan, champion=replace(plan.champion, threshold=0.0)), ("canary", other, 0.5))
    routers.append(router := Router(decided))
    found = answer(router)
    assert found.decision is not None
    assert found.decision.tolist() == [v == "1" for v in found.versions]


def test_a_probe_may_name_a_version_that_answers_nobody_else(plan: Plan, routers: list[Router]) -> None:
    routers.append(router := Router(beside(plan, ("candidate", version(plan, "2"), 0.0))))
    assert set(answer(router).versions) == {"1"}
    named = answer(router, request(3, probe=True, version="2"))
    assert (named.versions, named.variants) == (["2"] * 3, ["candidate"] * 3)
    found = router.answer([request(1, probe=True, version="9"), request(2)])
    assert "names no version '9', but 1, 2" in str(found[0])
    assert isinstance(found[1], Answer)


def test_a_swap_takes_over_between_two_batches_and_the_log_says_by_which_plan(plan: Plan) -> None:
    router = Router(plan)
    before = answer(router)
    swapped = beside(replace(plan, champion=version(plan, "2")), ("previous", plan.champion, 0.0), revision=2)
    router.swap(swapped)
    after = answer(router)
    router.close()
    assert (before.revision, after.revision) == (1, 2)
    assert set(before.versions) | set(after.versions) == {"1", "2"}
    assert logged(swapped)["revision"].to_list() == [1] * ROWS + [2] * ROWS
    assert logged(swapped)["prediction_id"].to_list() == before.prediction_ids + after.prediction_ids


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda plan, bad: Path(bad.onnx).write_bytes(b"no graph"), "Protobuf parsing failed"),
        (lambda plan, bad: write_graph(Path(bad.onnx), 1.0, plan.champion.inputs, scale=2.0), "are no probabilities"),
        (lambda plan, bad: write_graph(Path(bad.onnx), 1.0, plan.champion.inputs[:3]), "does not fit model 'example'"),
        (lambda plan, bad: Path(bad.onnx).unlink(), "no ONNX file at"),
    ],
)
def test_a_swap_to_a_version_that_cannot_answer_changes_nothing(
    plan: Plan, routers: list[Router], spoil: Any, said: str
) -> None:
    routers.append(router := Router(plan))
    bad = version(plan, "2")
    spoil(plan, bad)
    with pytest.raises(Exception, match=said):
        router.swap(replace(plan, revision=2, champion=bad))
    assert (answer(router).revision, set(answer(router).versions)) == (1, {"1"})


def test_past_the_budget_the_least_recently_asked_versions_leave_and_come_back(
    plan: Plan, routers: list[Router]
) -> None:
    many = [version(plan, str(n)) for n in range(2, 40)]
    arms: list[tuple[Variant, Version, float]] = [("candidate", one, 0.0) for one in many]
    routers.append(router := Router(replace(beside(plan, *arms), sessions_mb=3)))
    opened = len(router._sessions)
    assert 2 <= opened < 15
    for one in many:
        assert answer(router, request(1, probe=True, version=one.version)).versions == [one.version]
    assert router._sessions.size <= 3 * 2**20
    assert set(answer(router).versions) == {"1"}


def test_a_share_that_changes_moves_no_key_from_one_other_to_another(plan: Plan, routers: list[Router]) -> None:
    two, three = version(plan, "2"), version(plan, "3")

    def answered(*arms: tuple[Variant, Version, float]) -> list[str]:
        routers.append(router := Router(beside(plan, *arms)))
        return answer(router).versions

    before = answered(("canary", two, 0.1), ("challenger", three, 0.2))
    after = answered(("challenger", three, 0.2), ("canary", two, 0.2))
    moved = {(a, b) for a, b in zip(before, after, strict=True) if a != b}
    assert moved <= {("1", "2"), ("3", "2"), ("1", "3")}
    assert {b for a, b in zip(before, after, strict=True) if a == "2"} == {"2"}


def test_a_bad_answer_of_a_canary_costs_its_own_row_alone(plan: Plan) -> None:
    some = beside(plan, ("canary", version(plan, "2"), 1.0))
    router = Router(some)
    scorer = router._lineup.scorers[1]
    scored = scorer.score

    def one_bad(*arguments: Any) -> np.ndarray:
        value = scored(*arguments).copy()
        value[7] = np.nan
        return value

    scorer.score = one_bad  # type: ignore[method-assign]
    found = answer(router, request(50))
    router.close()
    assert [row for row, v in enumerate(found.versions) if v == "1"] == [7]
    assert np.isfinite(found.value).all()
    lines = logged(some)
    assert lines.filter(~pl.col("answered"))["prediction_id"].to_list() == [found.prediction_ids[7]]
    assert sorted(lines.filter("answered")["prediction_id"].to_list()) == sorted(found.prediction_ids)
