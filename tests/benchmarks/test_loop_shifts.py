"""The shifts that the benchmark loop_shifts puts into real weeks do what their names say, and nothing else."""

import polars as pl
import pytest

from benchmarks._loop_shifts import shifts
from ml.models import model_named

SPEC = model_named("flight_delay")
LABEL = SPEC.outcome.label
ROWS = pl.DataFrame(
    {
        "origin": ["EWR", "JFK", "LGA", "JFK"] * 500,
        "carrier": ["UA", "B6", "UA", "DL"] * 500,
        LABEL: [0, 1, 0, 0] * 500,
        "weather_observation__temp": [50.0] * 2000,
        "weather_observation__dewp": [40.0] * 2000,
        "weather_observation__visib": [10.0] * 2000,
        "destination_congestion__mean_arr_delay_3h": [0.0] * 2000,
    }
)


@pytest.mark.parametrize("shift", shifts(SPEC), ids=lambda shift: shift.name)
def test_a_shift_of_features_leaves_what_happens_and_the_other_way_round(shift):
    after = shift.applied(ROWS, 3)
    changed = {name for name in ROWS.columns if not after[name].equals(ROWS[name])}
    assert changed
    assert changed == {LABEL} if shift.name.startswith("what happens") else LABEL not in changed
    assert after.schema == ROWS.schema


def test_a_gradual_shift_grows_over_four_weeks_and_a_sudden_one_is_whole_at_once():
    by_name = {shift.name: shift for shift in shifts(SPEC)}
    gradual, sudden = by_name["features, gradual: 40 F warmer"], by_name["features, sudden, strong: 40 F warmer"]
    temp = "weather_observation__temp"
    assert [gradual.applied(ROWS, week)[temp][0] for week in (0, 1, 3, 9)] == [60, 70, 90, 90]
    assert [sudden.applied(ROWS, week)[temp][0] for week in (0, 3)] == [90, 90]


def test_a_shift_in_one_slice_leaves_the_others():
    (shift,) = [s for s in shifts(SPEC) if "delays of EWR" in s.name]
    after = shift.applied(ROWS, 0)
    delays = after.group_by("origin").agg(pl.col("destination_congestion__mean_arr_delay_3h").max())
    assert dict(delays.iter_rows()) == {"EWR": 60.0, "JFK": 0.0, "LGA": 0.0}
