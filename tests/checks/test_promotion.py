from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from checks.promotion import check_promotion
from checks.training_rows import check_training_rows
from ml.models.flight_delay import FLIGHT_DELAY as SPEC
from ml.spec import column_of

ROWS = 6000


@pytest.fixture(scope="module")
def held_out():
    """Held-out rows whose labels are drawn from known probabilities, and those probabilities."""
    random = np.random.default_rng(3)
    signal = random.normal(-2.0, 1.2, ROWS)
    truth = 1 / (1 + np.exp(-signal))
    start = datetime(2013, 10, 1, tzinfo=UTC)
    rows = pl.DataFrame(
        {
            SPEC.outcome.prediction_time: [start + timedelta(minutes=20 * i) for i in range(ROWS)],
            SPEC.outcome.label: (random.random(ROWS) < truth).astype(int),
        }
    )
    return rows, truth, signal


def noisy(signal, scale, seed=5):
    blurred = signal + np.random.default_rng(seed).normal(0, scale, ROWS)
    return 1 / (1 + np.exp(-blurred))


def reasons(outcome):
    return {row["rule"] for row in outcome.table if not row["passed"]}


def test_the_first_good_candidate_passes_without_a_champion(held_out):
    rows, truth, _ = held_out
    outcome = check_promotion(SPEC, rows, truth, None)
    assert outcome.passed, outcome.summary


def test_a_candidate_that_beats_the_champion_beyond_noise_passes(held_out):
    rows, truth, signal = held_out
    assert check_promotion(SPEC, rows, truth, noisy(signal, 1.5)).passed


def test_the_same_model_again_is_refused(held_out):
    rows, truth, _ = held_out
    outcome = check_promotion(SPEC, rows, truth, truth)
    assert reasons(outcome) == {"better than the champion"}
    assert "not better than the champion beyond noise" in outcome.summary


def test_a_worse_candidate_is_refused(held_out):
    rows, truth, signal = held_out
    assert "better than the champion" in reasons(check_promotion(SPEC, rows, noisy(signal, 0.8), truth))


def test_a_result_too_good_to_be_true_is_refused(held_out):
    rows, *_ = held_out
    leak = np.where(rows[SPEC.outcome.label].to_numpy() == 1, 0.99, 0.01)
    assert "ROC AUC is believable" in reasons(check_promotion(SPEC, rows, leak, None))


def test_chance_and_overconfidence_are_refused(held_out):
    rows, truth, _ = held_out
    chance = np.random.default_rng(9).random(ROWS)
    assert {"ROC AUC is high enough", "calibrated"} <= reasons(check_promotion(SPEC, rows, chance, None))
    assert reasons(check_promotion(SPEC, rows, np.sqrt(truth), None)) == {"calibrated"}


def training_set():
    windows = (SPEC.split.train, SPEC.split.validation, SPEC.split.test)
    asked = [w.start + timedelta(hours=h) for w in windows for h in range(1, 5)]
    late = [h % 2 for _ in windows for h in range(4)]
    features = {column_of(f): [float(i) for i in range(len(asked))] for f in SPEC.features}
    return pl.DataFrame(
        {
            SPEC.outcome.row_id: [f"row {i}" for i in range(len(asked))],
            SPEC.outcome.prediction_time: asked,
            SPEC.outcome.label: late,
            SPEC.outcome.label_timestamp: [t + timedelta(hours=6) for t in asked],
            **features,
        }
    )


def test_a_sound_training_set_passes():
    outcome = check_training_rows(SPEC, training_set())
    assert outcome.passed, outcome.summary


def test_a_forecast_may_lie_after_the_question():
    ahead = training_set().with_columns(aircraft_departure__back_at=pl.int_range(pl.len()) + 2_000_000_000)
    assert check_training_rows(SPEC, ahead).passed


BROKEN = {
    "no rows": (lambda f: f.clear(), "no rows"),
    "row id is doubled": (lambda f: pl.concat([f, f.head(1)]), "doubled in 2 rows"),
    "label known before the question": (
        lambda f: f.with_columns(pl.col("prediction_time").alias("label_timestamp")),
        "known before the question",
    ),
    "a feature from after the question": (
        lambda f: f.with_columns(aircraft_state__last_arrived_at=pl.lit(2e9)),
        "later than the question",
    ),
    "a departure from after the question": (
        lambda f: f.with_columns(aircraft_departure__departed_at=pl.lit(2e9)),
        "aircraft_departure__departed_at is later than the question",
    ),
    "a feature that is all null": (
        lambda f: f.with_columns(weather_observation__temp=pl.lit(None, pl.Float64)),
        "weather_observation__temp is null",
    ),
    "a feature that is constant": (
        lambda f: f.with_columns(weather_observation__temp=pl.lit(1.5)),
        "weather_observation__temp is 1.5 in every row",
    ),
    "one class only": (lambda f: f.with_columns(arrived_late=pl.lit(0)), "only the class 0"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_training_set_fails_and_says_how(name):
    corrupt, message = BROKEN[name]
    outcome = check_training_rows(SPEC, corrupt(training_set()))
    assert not outcome.passed
    assert message in outcome.summary
