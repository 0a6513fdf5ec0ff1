"""The shipped suites of feature tables, on the features that the demo built."""

import polars as pl
import pytest

from checks.expectations import check_expectations
from checks.outcome import RULE
from checks.suite import refuse_strangers, suite_of_feature_table
from ml.sources import SOURCES

MONTHS = [f"2013-{month:02}" for month in range(1, 13)]
NAMES = [
    "aircraft",
    "aircraft_departure",
    "aircraft_state",
    "carrier_performance",
    "destination_congestion",
    "flight_history",
    "flight_outcomes",
    "origin_congestion",
    "origin_en_route",
    "route_performance",
    "weather_observation",
]


def check(line, name, month="2013-04", damage=lambda rows: rows):
    platform = line.platform
    rows = platform.lake.read(f"features/{name}", partitions=[month]).collect()
    return check_expectations(suite_of_feature_table(platform.manifest, name), damage(rows), month)


@pytest.mark.parametrize("name", NAMES)
def test_every_month_of_a_feature_table_passes(line, name):
    """The bounds are set on January to June; July to December only judge them."""
    outcomes = {month: check(line, name, month) for month in MONTHS}
    assert [outcome.summary for outcome in outcomes.values() if not outcome.passed] == []


def test_every_suite_file_belongs_to_a_table(line):
    refuse_strangers(SOURCES, line.platform.manifest)


def every(**values):
    return lambda rows: rows.with_columns(**values)


def shuffled(column):
    return every(**{column: pl.col(column).shuffle(seed=3)})


# The table, what happens to it, and the column that the evidence must name first.
BROKEN = {
    "a feature is missing": ("aircraft_state", lambda rows: rows.drop("last_dest"), "last_dest is missing"),
    "a null": ("aircraft_state", every(last_dest=pl.lit(None, pl.String)), "last_dest"),
    "seconds for minutes": ("aircraft_state", every(last_dep_delay=pl.col("last_dep_delay") * 60), "last_dep_delay"),
    "delays of other legs": ("aircraft_state", shuffled("last_arr_delay"), "last_delay_gained"),
    "flight times of other legs": ("aircraft_state", shuffled("last_air_time"), "last_speed_mph"),
    "at once from its own arrival": ("aircraft_state", every(last_turnaround=pl.lit(0.0)), "last_turnaround"),
    "rows twice": ("aircraft_state", lambda rows: pl.concat([rows, rows.head(9)]), "to be unique"),
    "shares in percent": ("carrier_performance", every(late_share_7d=pl.col("late_share_7d") * 100), "late_share_7d"),
    "an excess that is none": (
        "route_performance",
        every(excess_arr_delay_28d=pl.col("mean_arr_delay_28d").abs() + 10),
        "excess_arr_delay_28d",
    ),
    "a mean above the longest": (
        "origin_congestion",
        every(mean_dep_delay_3h=pl.col("max_dep_delay_3h") + 1),
        "mean_dep_delay_3h",
    ),
    "nothing arrives": ("destination_congestion", every(arrivals_3h=pl.lit(0, pl.Int64)), "arrivals_3h"),
    "Celsius": ("weather_observation", every(temp=(pl.col("temp") - 32) / 1.8), "temp"),
    "every flight late": ("flight_outcomes", every(arrived_late=pl.lit(1, pl.Int64)), "arrived_late"),
    "no label": ("flight_outcomes", every(arrived_late=pl.lit(None, pl.Int64)), "arrived_late"),
    "of the month before": (
        "flight_outcomes",
        every(event_timestamp=pl.col("event_timestamp") - pl.duration(days=40)),
        "event_timestamp",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_refused_and_named_first(line, case):
    name, damage, named = BROKEN[case]
    outcome = check(line, name, damage=damage)
    assert not outcome.passed
    assert named in outcome.summary
    if outcome.failing is not None:
        assert set(suite_of_feature_table(line.platform.manifest, name).key) < set(outcome.failing.columns)
        assert outcome.failing.columns[0] == RULE
