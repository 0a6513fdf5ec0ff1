"""The canary's judge on made-up logs: it may be looked at at any time, and finds faults of a stated size in time."""

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from checks.canary import judge_canary, unjudged
from checks.canary_rows import Contestants, Seen, look
from checks.sequential import margin, mean_and_spread, rate_evidence
from ml.serving_settings import CanaryBounds
from tests.serving.example import SPEC, write_graph

BOUNDS = CanaryBounds()
SEQUENCES, ROWS, FIRST, ALPHA = 400, 4000, 100, 0.05
NOW = datetime(2013, 10, 3, 12, tzinfo=UTC)


def ever_above(values, bound):
    """The share of sequences [S, N] whose mean is ever said to lie above the bound, and a fixed-time test's."""
    rows = np.arange(1, values.shape[1] + 1)
    mean, spread = mean_and_spread(values)
    always = mean - spread * margin(rows, ALPHA, FIRST) > bound
    naive = mean - spread * 1.645 / np.sqrt(rows) > bound
    return tuple(float(found[:, FIRST - 1 :].any(axis=1).mean()) for found in (always, naive))


@pytest.mark.parametrize("kind", ["normal", "exponential", "one in fifty"])
def test_looked_at_after_every_row_a_true_bound_is_left_with_probability_alpha_at_most(kind):
    random, shape = np.random.default_rng(4), (SEQUENCES, ROWS)
    values = {
        "normal": lambda: random.normal(size=shape),
        "exponential": lambda: random.exponential(size=shape) - 1,
        "one in fifty": lambda: (random.random(shape) < 0.02) - 0.02,
    }[kind]()
    always, naive = ever_above(values, 0.0)
    assert always <= ALPHA
    assert naive > 2 * ALPHA  # what a test of a fixed number of rows does


def test_a_fault_rate_at_the_bound_is_called_broken_or_kept_with_probability_alpha_at_most():
    random, rows = np.random.default_rng(5), np.arange(1, ROWS + 1)
    faults = np.cumsum(random.random((SEQUENCES, ROWS)) < 0.01, axis=1)
    certain = rate_evidence(faults, rows, 0.01) >= -np.log(ALPHA)
    for wrong in (certain & (faults / rows > 0.01), certain & (faults / rows < 0.01)):
        assert wrong.any(axis=1).mean() <= ALPHA


def seen(rows=3000, failing=0.0, slower=1.0, shift=0.0, worse=0.0, seed=1):
    """What a canary did that answers otherwise than the champion, as two trainings do, and has the faults named."""
    random = np.random.default_rng(seed)
    label = random.random(rows) < (truth := random.beta(2, 6, rows))
    answers = [np.clip(truth + random.normal(0, 0.05, rows), 0.01, 0.99) for _ in range(2)]
    canary = np.clip(answers[1] + shift + random.normal(0, worse + 1e-9, rows), 0.01, 0.99)
    losses = [-np.log(np.where(label, p, 1 - p)) for p in (canary, answers[0])]
    times = np.log(slower) + random.normal(0, 0.6, rows)
    return Seen(random.random(rows) < failing, times, canary, answers[0], *losses)


def first(count, whole):
    return Seen(*(part[:count] for part in list(vars(whole).values())[:6]))


def decided(whole, bounds=BOUNDS, step=100):
    """The first decision of a judge who looks every so many rows, and when; `continue` at the end."""
    total = len(whole.failed)
    for rows in range(step, total + 1, step):
        verdict = judge_canary(bounds, first(rows, whole), 1.0)
        if verdict.decision != "continue":
            return verdict.decision, rows, verdict.outcome
    return "continue", total, verdict.outcome


def test_a_sound_canary_is_promoted_and_its_picture_shows_why():
    decision, rows, outcome = decided(seen())
    assert (decision, outcome.passed) == ("promote", True)
    assert BOUNDS.min_rows <= rows <= 1500
    assert {row["verdict"] for row in outcome.table} == {"holds"}
    assert outcome.plot[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("fault", "rule", "within"),
    [
        ({"failing": 0.05}, "answers without failing", 500),
        ({"slower": 3.0}, "as fast as the champion", 500),
        ({"shift": 0.1}, "mean answer as the champion's", 500),
        ({"shift": 0.1}, "deciles as the champion's", 600),
        ({"worse": 0.2}, "as good as the champion", 1500),
    ],
)
def test_a_fault_of_a_given_size_is_found_within_so_many_rows(fault, rule, within):
    only = {"max_mean_shift": 9.0} if rule.startswith("deciles") else {}
    only |= {"max_mean_shift": 9.0, "max_decile_shift": 0.99} if rule.startswith("as good") else {}
    bounds = CanaryBounds(**only, min_labels=5000)
    decision, rows, outcome = decided(seen(**fault), bounds)
    assert decision == "revert", outcome.summary
    assert rows <= within
    assert outcome.table[0]["rule"] == rule
    assert outcome.table[0]["verdict"] == "broken"


def test_with_every_fault_just_inside_its_bound_nothing_is_reverted_however_often_one_looks():
    for seed in range(8):
        whole = seen(2000, failing=0.006, slower=1.7, shift=0.02, seed=seed)
        assert decided(whole, CanaryBounds(min_labels=10_000), step=100)[0] == "continue"


def test_nothing_is_decided_before_the_least_rows_and_without_a_decision_it_ends_by_its_deadline():
    few = first(BOUNDS.min_rows - 1, seen(failing=0.5))
    assert judge_canary(BOUNDS, few, 1.0).decision == "continue"
    late = judge_canary(BOUNDS, few, 24.0)
    assert late.decision == "revert"
    assert "not decided in 24 hours" in late.outcome.summary
    assert late.outcome.evidence["faulty"] is False
    assert judge_canary(BOUNDS, Seen(), 0.0).decision == "continue"


def test_one_that_cannot_be_judged_goes_on_until_its_deadline_and_then_ends_without_blame():
    early, late = (unjudged(BOUNDS, "the log is damaged", hours) for hours in (BOUNDS.hours - 0.1, BOUNDS.hours))
    assert (early.decision, late.decision) == ("continue", "revert")
    assert "could not be judged: the log is damaged" in late.outcome.summary
    assert (late.outcome.passed, late.outcome.evidence["faulty"]) == (False, False)
    assert late.outcome.table[0]["reason"] == "the log is damaged"


def test_where_labels_are_asked_for_it_waits_for_them():
    waits = judge_canary(CanaryBounds(min_labels=2000), first(1500, seen()), 1.0)
    assert waits.decision == "continue"
    assert "1500 of 2000 labels" in waits.outcome.summary
    assert judge_canary(CanaryBounds(min_labels=2000), seen(), 1.0).decision == "promote"


def log_rows(count, **columns):
    times = [NOW - timedelta(days=3) + timedelta(minutes=n) for n in range(count)]
    base = {
        "prediction_id": [f"{n:032x}" for n in range(count)],
        "time": pl.Series(times, dtype=pl.Datetime("us", "UTC")),
        "model_version": ["1", "2"] * (count // 2),
        "variant": ["champion", "canary"] * (count // 2),
        "answered": [True] * count,
        "revision": [2] * count,
        "taken_ms": [1.0, 3.0] * (count // 2),
        "degraded": [False] * count,
        "probability": [0.5] * count,
        "tailnum": [f"N{n}" for n in range(count)],
        "origin": ["EWR"] * count,
        "runway": [4] * count,
        "distance": [1400.0 + n for n in range(count)],
        "departure": [1.38e9] * count,
        "aircraft__last_arrived_at": [1.38e9] * count,
        "aircraft__last_delay": [5.0] * count,
        "aircraft__last_dest": ["MIA"] * count,
        "runway__departures": [17] * count,
        "runway__wet": [True] * count,
    }
    return pl.DataFrame({**base, **columns})


def test_the_champion_scores_the_canary_s_rows_and_labels_are_joined_by_what_the_request_said(tmp_path: Path):
    log = log_rows(200)
    graph = write_graph(tmp_path / "champion.onnx", -2.5)
    who = Contestants("2", "1", graph, 2)
    asked = log.select("tailnum", "origin", "runway", "distance", "departure", prediction_time="time")
    asked = asked.with_columns(pl.from_epoch(pl.col("departure").cast(pl.Int64)).dt.replace_time_zone("UTC"))
    outcomes = asked.with_columns(
        late=1, label_timestamp=pl.col("prediction_time") + timedelta(hours=4), id=pl.lit("x")
    )
    found = look(SPEC, who, log, outcomes, NOW)
    assert len(found.failed) == len(found.champion) == len(found.canary_loss) == 100
    np.testing.assert_allclose(found.slower, np.log(3.0))
    np.testing.assert_allclose(found.champion_loss, -np.log(found.champion))
    assert 0.5 < found.champion.mean() < 0.99
    early = look(SPEC, who, log, outcomes, NOW - timedelta(days=2, hours=23))  # labels came, but only the first ones
    assert len(early.canary_loss) == 0


def test_failed_rows_are_counted_and_a_champion_that_reads_other_columns_is_no_comparison(tmp_path: Path):
    log = log_rows(200, answered=[True, False] * 100).drop("aircraft__last_delay")
    who = Contestants("2", "1", write_graph(tmp_path / "champion.onnx", -2.5), 2)
    found = look(SPEC, who, log, None, NOW)
    assert found.failed.all()
    log = log.with_columns(answered=True, taken_ms=1.0)
    found = look(SPEC, who, log, None, NOW)
    assert "rows lack ['aircraft__last_delay']" in found.trouble
    verdict = judge_canary(CanaryBounds(min_rows=100), found, 1.0)
    assert verdict.decision == "continue"
    assert "the champion cannot score the canary's rows" in verdict.outcome.summary


def test_a_batch_is_compared_with_one_of_its_size_and_a_mixed_one_is_the_canary_s(tmp_path: Path):
    log = log_rows(8, taken_ms=[1.0, 1.0, 9.0, 9.0, 9.0, 9.0, 1.0, 2.0])
    instants = [NOW, NOW + timedelta(seconds=1), *[NOW + timedelta(seconds=2)] * 4]
    instants += [NOW + timedelta(seconds=3), NOW + timedelta(seconds=4)]
    log = log.with_columns(pl.Series("time", instants, dtype=pl.Datetime("us", "UTC")))
    found = look(SPEC, Contestants("2", "1", write_graph(tmp_path / "c.onnx", -2.5), 2), log, None, NOW)
    np.testing.assert_allclose(found.slower, [0.0, np.log(2.0)])


def test_answers_without_features_are_not_compared(tmp_path):
    """The router averages over training rows then, which nobody can repeat from the log's empty features."""
    graph = write_graph(tmp_path / "champion.onnx", -1.0)
    log = log_rows(40, degraded=[False, True, False, False] * 10)
    seen = look(SPEC, Contestants("2", "1", graph, 2), log, None, NOW)
    assert len(seen.canary) == len(seen.champion) == 10
    assert len(seen.failed) == 20


def test_other_answers_than_a_stale_champion_s_are_judged_by_labels():
    random, rows = np.random.default_rng(3), 3000
    label = random.random(rows) < (truth := random.beta(2, 6, rows))
    stale = np.clip(truth - 0.1, 0.01, 0.99)  # it no longer knows how often it happens
    losses = [-np.log(np.where(label, p, 1 - p)) for p in (truth, stale)]
    sound = Seen(np.zeros(rows, bool), random.normal(0, 0.3, rows), truth, stale, *losses)
    assert judge_canary(BOUNDS, sound, 1.0).decision == "revert"
    verdict = judge_canary(BOUNDS, sound, 1.0, stale=True)
    assert verdict.decision == "promote"
    assert "no worse" in str(verdict.outcome.table)
    unlabelled = dataclasses.replace(sound, champion_loss=np.empty(0), canary_loss=np.empty(0))
    assert judge_canary(BOUNDS, unlabelled, 1.0, stale=True).decision == "continue"
    worse = dataclasses.replace(sound, canary_loss=losses[1] * 1.5)
    assert judge_canary(BOUNDS, worse, 1.0, stale=True).decision == "revert"
    mad = dataclasses.replace(unlabelled, canary=np.clip(stale + 0.6, 0.01, 0.99))
    assert judge_canary(BOUNDS, mad, 1.0, stale=True).decision == "revert"
