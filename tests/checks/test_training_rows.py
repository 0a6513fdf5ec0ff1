"""The check of a training set: ids, times, features that vary, and both classes; what is broken is named."""

from datetime import timedelta

import polars as pl
import pytest

from checks.training_rows import check_training_rows
from ml.models.flight_delay import FLIGHT_DELAY as SPEC
from ml.spec import column_of


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
