"""What the checks on windows of answers warn of: each its own fault, none another's, and no noise."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest

from checks.drift_bounds import Bounds
from checks.drift_evidence import Reference
from checks.drift_windows import Part, Profiles, Window
from checks.monitoring_answers import PREDICTION_DRIFT, check_prediction_drift
from checks.monitoring_drift import SERVED_DRIFT, check_served_drift
from checks.monitoring_health import SERVING_HEALTH, check_serving_health
from checks.monitoring_metrics import measured
from checks.monitoring_quality import (
    CALIBRATION,
    PERFORMANCE,
    check_calibration,
    check_performance,
    held_out_score,
)
from checks.monitoring_report import write_window_page
from checks.monitoring_window import Answers, HeldOut, numbers
from ml.recalibration import recalibrated, recalibration
from ml.task import task_of
from ml.windows import Span, newest_final, span_at, spans_between
from tests.serving.example import SPEC

MODEL = SPEC.model_copy(update={"slices": ("origin",)})
REGRESSION = MODEL.model_copy(update={"task": "regression"})
MONDAY = datetime(2013, 9, 30, tzinfo=UTC)
WEEK = Span(MONDAY, MONDAY + timedelta(days=7))
ROWS = 2_000


def sigmoid(raw):
    return 1 / (1 + np.exp(-raw))


def answered(seed, start=MONDAY, rows=ROWS, level=0.0, blur=0.0, too_high=0.0, degraded=0.0, slow=0.0):
    """A week of answers: `level` moves what happens and what is answered, `too_high` only what is answered, `blur`
    makes what happens know less of the answer, as often as before."""
    random = np.random.default_rng(seed)
    storm = random.normal(0, 0.2, 7)  # days are not alike
    day = random.integers(0, 7, rows)
    raw = random.normal(-1.0, 1.3, rows) + level + storm[day]
    label = (random.random(rows) < sigmoid(raw)).astype(float)
    if blur:
        shuffled = random.random(rows) < blur
        label[shuffled] = random.permutation(label[shuffled])
    seconds = day * 86_400 + random.integers(0, 86_400, rows)
    answer = sigmoid(raw + too_high)
    bare = random.random(rows) < degraded
    frame = pl.DataFrame(
        {
            "prediction_id": [f"{seed}-{number}" for number in range(rows)],
            "time": [start + timedelta(seconds=int(s)) for s in seconds],
            "model_version": "1",
            "answer": np.where(bare, 0.9, answer),
            "label": label,
            "degraded": bare,
            "taken_ms": np.where(random.random(rows) < slow, 1e5, 2.0),
            "origin": random.choice(["EWR", "JFK"], rows),
            "departure": 0.0,
        }
    )
    loss = -np.log(np.where(label == 1, frame["answer"], 1 - frame["answer"].to_numpy()))
    return frame.with_columns(loss=pl.Series(loss), feature=pl.Series(random.normal(level * 0 + 1, 2, rows)))


@cache
def held_out(rows=6_000):
    return HeldOut(answered(0, rows=rows).select("answer", "label", "time"))


def window(now, *weeks_before):
    before = pl.concat(weeks_before) if weeks_before else now.head(0)
    return Answers(WEEK, "1", now, before)


def calm(seed, weeks=2, **faults):
    starts = [MONDAY - timedelta(days=7 * (n + 1)) for n in range(weeks)]
    return [answered(1000 * seed + n, start, **{"rows": 6_000, **faults}) for n, start in enumerate(starts, 1)]


def served(tmp_path, answers, moved=0.0):
    rows = answers.whole.with_columns(pl.col("feature") + moved)
    learned = answered(0).select("feature")
    return check_served_drift(
        answers,
        Window("week", (Part("log", "week", f"{answers.content}{moved}", rows.lazy),)),
        Reference("learned from", Window("learned", (Part("rows", "all", "0", learned.lazy),)), ["feature"], BOUNDS),
        Profiles(tmp_path),
        tmp_path / "page.html",
    )


BOUNDS = Bounds(distance=0.3, share=0.2)


def breached(tmp_path, answers, moved=0.0):
    found = {
        PERFORMANCE: check_performance(MODEL, answers, held_out()),
        CALIBRATION: check_calibration(MODEL, answers),
        PREDICTION_DRIFT: check_prediction_drift(MODEL, answers, held_out()),
        SERVED_DRIFT: served(tmp_path, answers, moved),
        SERVING_HEALTH: check_serving_health(MODEL, answers),
    }
    assert all(outcome.evidence["content"] == answers.content for outcome in found.values())
    assert all(outcome.plot for name, outcome in found.items() if name != SERVED_DRIFT)
    return {name for name, outcome in found.items() if not outcome.passed}


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_calm_week_warns_of_nothing(tmp_path, seed):
    assert breached(tmp_path, window(answered(seed), *calm(seed))) == set()


@pytest.mark.parametrize(
    ("fault", "warns"),
    [
        ({"blur": 0.5}, PERFORMANCE),
        ({"level": 1.0}, PREDICTION_DRIFT),
        ({"degraded": 0.05}, SERVING_HEALTH),
        ({"slow": 0.03}, SERVING_HEALTH),
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_fault_is_told_by_its_own_check_only(tmp_path, fault, warns, seed):
    assert breached(tmp_path, window(answered(seed, **fault), *calm(seed))) == {warns}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_model_that_has_long_answered_too_much_is_miscalibrated_and_ranks_as_before(tmp_path, seed):
    stale = {"too_high": 0.3}
    assert breached(tmp_path, window(answered(seed, **stale), *calm(seed, **stale))) == {CALIBRATION}


def test_features_that_moved_are_told_by_name_with_a_page(tmp_path):
    answers = window(answered(1), *calm(1))
    assert breached(tmp_path, answers, moved=3.0) == {SERVED_DRIFT}
    found = served(tmp_path, answers, moved=3.0)
    assert (found.evidence["drifted"], found.evidence["share"]) == (["feature"], 1.0)
    assert found.report is not None
    assert "feature" in found.report.read_text()


@pytest.mark.parametrize("spec", [MODEL, REGRESSION], ids=["binary", "regression"])
def test_a_page_has_every_word_and_the_series_a_snapshot_a_window(tmp_path, spec):
    from evidently.ui.workspace import Workspace

    answers, page, series = window(answered(1)), tmp_path / "page.html", tmp_path / "series"
    told = {"serving_health": check_serving_health(spec, answers)}
    for _ in range(2):  # a window that is judged again is not there twice
        write_window_page(page, series, spec, answers, held_out(), told)
    assert "<b>serving_health</b> holds" in page.read_text()
    workspace = Workspace.create(str(series))
    (project,) = workspace.search_project(spec.name)
    (run,) = workspace.list_runs(project.id)
    assert workspace.get_run(project.id, run).name == "2013-09-30 version 1"


def test_a_week_is_compared_with_weeks_and_not_with_months():
    """Days that differ make a score over all of them higher than in any: that is no drop."""
    weeks = [answered(n, MONDAY - timedelta(days=7 * n), level=2.0 * (n % 2)) for n in range(1, 9)]
    held = HeldOut(pl.concat(weeks).select("answer", "label", "time"))
    pooled = task_of(MODEL).scorer(*numbers(held.rows))(np.ones(held.rows.height))
    score, parts = held_out_score(MODEL, held)
    assert parts == 8
    assert score < pooled - 0.02
    assert held_out_score(MODEL, HeldOut(held.rows.head(40))) == (
        pytest.approx(task_of(MODEL).scorer(*numbers(held.rows.head(40)))(np.ones(40))),
        0,
    )


def test_a_storm_raises_the_loss_and_is_not_called_a_stale_model(tmp_path):
    """One week in which far more happens than was answered: a refit on the weeks before would have lost as much."""
    storm, quiet = answered(1, too_high=-1.0), answered(1)
    assert storm["loss"].mean() > 1.15 * quiet["loss"].mean()
    assert check_calibration(MODEL, window(storm, *calm(1))).passed


def test_a_gain_below_its_bound_or_within_noise_is_no_breach():
    slightly = {"too_high": 0.1}
    certain = window(answered(1, rows=60_000, **slightly), *calm(1, rows=20_000, **slightly))
    found = check_calibration(MODEL, certain)
    assert found.passed
    assert 0 < found.evidence["gain"]["low"] < found.evidence["gain"]["value"] < 0.01
    few = window(answered(3, rows=60, too_high=0.35), *calm(3, rows=600, too_high=0.35))
    noisy = check_calibration(MODEL, few)
    assert noisy.passed
    assert noisy.evidence["gain"]["low"] < 0


def test_a_version_without_earlier_windows_is_not_judged_for_calibration_and_it_is_said():
    found = check_calibration(MODEL, window(answered(1, too_high=2.0)))
    assert found.passed
    assert "not judged: 0 answers of it with labels before" in found.summary
    assert "content" not in found.evidence
    assert found.evidence["not_judged"]


def test_a_week_of_one_class_is_not_judged_for_its_score():
    rows = answered(1).with_columns(label=pl.lit(0.0))
    found = check_performance(MODEL, window(rows), held_out())
    assert found.passed
    assert "metrics need both classes" in found.summary
    assert "content" not in found.evidence


def test_answers_without_features_count_against_the_store_and_not_against_the_model():
    answers = window(answered(1, degraded=0.5))
    assert not answers.whole["degraded"].any()
    assert answers.labelled.height < 0.6 * ROWS


def test_content_is_that_of_the_rows_whatever_their_order_and_a_correction_changes_it():
    rows = answered(1)
    same = window(rows.sort("answer")).content
    assert same == window(rows).content
    corrected = rows.with_columns(pl.when(pl.int_range(pl.len()) == 5).then(None).otherwise("label").alias("label"))
    assert window(corrected).content != same
    assert window(rows, *calm(1)).content != same


def test_a_regression_is_judged_by_the_same_checks():
    def values(seed, wrong=0.0, factor=1.0, start=MONDAY):
        rows = answered(seed, start)
        label = rows["answer"] * 10 + np.random.default_rng(seed).normal(0, 1 + wrong, ROWS)
        return rows.with_columns(label=label, answer=rows["answer"] * 10 * factor)

    held = HeldOut(values(0).select("answer", "label", "time"))
    before = values(2, start=MONDAY - timedelta(days=7))
    good = window(values(1), before)
    assert check_performance(REGRESSION, good, held).passed
    assert check_calibration(REGRESSION, good).passed
    assert not check_performance(REGRESSION, window(values(1, wrong=2.0)), held).passed
    stale = window(values(1, factor=1.4), values(2, factor=1.4, start=MONDAY - timedelta(days=7)))
    found = check_calibration(REGRESSION, stale)
    assert not found.passed
    assert found.evidence["scale"] == pytest.approx(1 / 1.4, rel=0.05)


def test_a_recalibration_is_the_one_that_training_makes():
    import torch

    from ml.calibration import calibrate_line, calibrate_logits

    rows = answered(4, too_high=0.6)
    label, answer = rows["label"].to_numpy(), rows["answer"].to_numpy()
    ours = recalibration("binary", label, answer)
    theirs = calibrate_logits(torch.tensor(np.log(answer / (1 - answer))), torch.tensor(label))
    assert (ours.scale, ours.shift) == pytest.approx((theirs.scale, theirs.shift), abs=1e-5)
    line = recalibration("regression", 3 * answer + label, answer)
    right = calibrate_line(torch.tensor(answer), torch.tensor(3 * answer + label))
    assert (line.scale, line.shift) == pytest.approx((right.scale, right.shift))
    assert recalibrated("binary", ours, np.array([0.0, 1.0])).tolist() == pytest.approx([0, 1], abs=1e-3)


def test_metrics_are_told_by_version_and_slice_with_intervals():
    rows = pl.concat([answered(1), answered(2, rows=300).with_columns(model_version=pl.lit("2"))])
    found = measured(MODEL, rows.with_columns(aircraft__age=pl.lit(60.0)))
    score = found.filter(version="1", slice="all", metric="roc_auc").row(0, named=True)
    assert score["low"] < score["value"] < score["high"]
    assert score["rows"] == ROWS
    assert set(found.filter(version="1", slice="origin", metric="roc_auc")["slice_value"]) == {"EWR", "JFK"}
    small = found.filter(version="2", slice="origin")
    assert "roc_auc" not in set(small["metric"])
    assert {"rows", "mean_answer", "log_loss"} <= set(small["metric"])
    assert found.filter(metric="feature_age_seconds")["value"].to_list() == [60.0, 60.0]
    assert found.filter(version="1", slice="all", metric="rows")["value"].item() == ROWS


def test_windows_begin_on_mondays_and_are_final_when_the_last_label_must_have_come():
    assert span_at(datetime(2013, 10, 6, 23, 59, tzinfo=UTC), 7) == WEEK
    assert span_at(WEEK.end, 7).start == WEEK.end
    assert not WEEK.is_final(24, WEEK.end + timedelta(hours=23))
    assert WEEK.is_final(24, WEEK.end + timedelta(hours=24))
    assert newest_final(7, 24, WEEK.end + timedelta(hours=24)) == WEEK
    assert newest_final(7, 24, WEEK.end + timedelta(hours=23)) == WEEK.before(1)
    assert [s.name for s in spans_between(MONDAY, WEEK.end, 7)] == ["2013-09-30", "2013-10-07"]
    assert replace(WEEK, end=WEEK.start + timedelta(days=14)).before(2).start == MONDAY - timedelta(days=28)
