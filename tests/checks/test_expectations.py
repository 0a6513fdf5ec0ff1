"""The shipped suites on real months and real reference tables, clean and broken."""

from functools import cache

import polars as pl
import pytest

from assets.raw import _column_schema
from checks.expectations import check_expectations
from checks.outcome import RULE
from checks.suite import suite_of_source
from ml.lake import WHOLE
from ml.sources import SOURCES, source_named

MONTHS = [f"2013-{month:02}" for month in range(1, 13)]
LIMIT = 1_000
AIR = [pl.col(name) for name in ("temp", "dewp")]


@cache
def landed(name):
    """A source's rows as `land` writes them."""
    source = source_named(name)
    rows = source.read()
    known = source.known_at(rows)
    rows = rows.with_columns(event_timestamp=known, created_timestamp=known)
    return rows if source.partition is None else rows.with_columns(partition_key=source.partition)


def partition(name, month="2013-02"):
    rows = landed(name)
    return rows if source_named(name).partition is None else rows.filter(partition_key=month)


def check(name, rows, month="2013-02"):
    source = source_named(name)
    return check_expectations(suite_of_source(source), rows, month if source.partition is not None else WHOLE)


@pytest.mark.parametrize("month", MONTHS)
@pytest.mark.parametrize("name", ["flights", "weather"])
def test_every_real_month_passes(name, month):
    """The bounds are set on January to June; July to December only judge them."""
    outcome = check(name, partition(name, month), month)
    assert outcome.passed, outcome.summary
    assert outcome.failing is outcome.plot is None


@pytest.mark.parametrize("name", [source.name for source in SOURCES if source.partition is None])
def test_every_reference_table_passes(name):
    outcome = check(name, landed(name))
    assert outcome.passed, outcome.summary


def some(column, value, every=40):
    """One row in `every` gets another value."""
    return lambda rows: rows.with_columns(
        pl.when(pl.int_range(pl.len()) % every == 0).then(pl.lit(value)).otherwise(column).alias(column)
    )


def every(**values):
    return lambda rows: rows.with_columns(**values)


def shuffled(column):
    return every(**{column: pl.col(column).shuffle(seed=3)})


def celsius(column):
    return (column - 32) / 1.8


# The source, what happens to it, and the column that the evidence must name first.
BROKEN = {
    "dropped column": ("flights", lambda rows: rows.drop("air_time"), "air_time is missing"),
    "renamed column": ("flights", lambda rows: rows.rename({"dest": "destination"}), "dest is missing"),
    "label among the columns": ("flights", every(late=pl.col("arr_delay") > 30), "late is not declared"),
    "text for numbers": ("flights", every(distance=pl.col("distance").cast(pl.String)), "distance is String"),
    "floats for integers": ("flights", every(hour=pl.col("hour").cast(pl.Float64)), "hour is Float64"),
    "instants without a zone": (
        "flights",
        every(time_hour=pl.col("time_hour").dt.replace_time_zone(None)),
        "time_hour",
    ),
    "unknown airport": ("flights", every(origin=pl.lit("LHR")), "origin"),
    "one airport is missing": ("flights", lambda rows: rows.filter(pl.col("origin") != "LGA"), "origin"),
    "constant column": ("flights", every(dest=pl.lit("ATL")), "dest"),
    "every carrier another": ("flights", every(carrier=pl.format("{}{}", "carrier", "flight")), "carrier"),
    "damaged text": ("flights", every(dest="\ufffd" + pl.col("dest").str.slice(1)), "dest"),
    "hours for minutes": ("flights", every(arr_delay=pl.col("arr_delay") // 60), "arr_delay"),
    "seconds for minutes": ("flights", every(dep_delay=pl.col("dep_delay") * 60), "dep_delay"),
    "kilometres for miles": ("flights", every(distance=pl.col("distance") * 16 // 10), "distance"),
    "turned sign": ("flights", every(arr_delay=-pl.col("arr_delay")), "arr_delay"),
    "sentinel for null": ("flights", every(arr_delay=pl.col("arr_delay").fill_null(-999)), "arr_delay"),
    "zero for null": ("flights", every(dep_delay=pl.col("dep_delay").fill_null(0)), "half_known"),
    "many nulls": ("flights", some("tailnum", None, every=3), "tailnum"),
    "a null where none may be": ("flights", some("dest", None, every=9000), "dest"),
    "75 minutes past": ("flights", some("sched_arr_time", 1975, every=9000), "latest_minute"),
    "clock in UTC": ("flights", every(time_hour=pl.col("time_hour") + pl.duration(hours=3)), "time_hour"),
    "an hour off": ("flights", every(time_hour=pl.col("time_hour") - pl.duration(hours=1)), "zone_error"),
    "a day off": ("flights", every(time_hour=pl.col("time_hour") + pl.duration(days=1)), "time_hour"),
    "delays of other flights": ("flights", shuffled("dep_delay"), "departure_clock_error"),
    "distances of other flights": ("flights", shuffled("distance"), "speed_mph"),
    "rows twice": ("flights", lambda rows: pl.concat([rows, rows.head(100)]), "compound columns to be unique"),
    "half the month": ("flights", lambda rows: rows.head(rows.height // 2), "row count"),
    "a tenth of the days": ("flights", lambda rows: rows.filter(pl.col("day") > 3), "day"),
    "known before it happened": (
        "flights",
        every(created_timestamp=pl.col("event_timestamp") - pl.duration(minutes=1)),
        "created_timestamp",
    ),
    "nothing": ("flights", lambda rows: rows.clear(), "row count"),
    "Celsius in one column": ("weather", every(temp=celsius(pl.col("temp"))), "temp"),
    "Celsius in both": ("weather", lambda rows: rows.with_columns(celsius(column) for column in AIR), "temp"),
    "kilometres per hour": ("weather", every(wind_speed=pl.col("wind_speed") * 1.609), "wind_speed"),
    "knots": ("weather", every(wind_speed=pl.col("wind_speed") / 1.15078), "part_of_a_knot"),
    "temperatures of other hours": ("weather", shuffled("temp"), "temp"),
    "millimetres of rain": ("weather", every(precip=pl.col("precip") * 25.4), "precip"),
    "an hour off in the weather": (
        "weather",
        every(time_hour=pl.col("time_hour") - pl.duration(hours=1)),
        "zone_error",
    ),
    "a day off in the weather": ("weather", every(time_hour=pl.col("time_hour") - pl.duration(days=1)), "days_ahead"),
    "inches of mercury": ("weather", every(pressure=pl.col("pressure") / 33.864), "pressure"),
    "sentinel": ("weather", some("visib", -999.0), "visib"),
    "one airport's weather": ("weather", lambda rows: rows.filter(pl.col("origin") == "JFK"), "origin"),
    "age for year": ("planes", every(year=2013 - pl.col("year")), "age"),
    "seats of other aircraft": ("planes", shuffled("seats"), "seats_within_model"),
    "models of other aircraft": ("planes", shuffled("model"), "seats_within_model"),
    "engines of other aircraft": ("planes", every(engines=pl.lit(2)), "engines_against_type"),
    "tail numbers without N": ("planes", every(tailnum=pl.col("tailnum").str.slice(1)), "tailnum"),
    "an unknown engine": ("planes", some("engine", "Antimatter", every=3000), "engine"),
    "a tenth of the planes": ("planes", lambda rows: rows.head(332), "row count"),
    "metres for feet": ("airports", every(alt=pl.col("alt") * 305 // 1000), "alt"),
    "latitude and longitude exchanged": ("airports", lambda rows: rows.rename({"lat": "lon", "lon": "lat"}), "lat"),
    "east for west": ("airports", every(lon=-pl.col("lon")), "lon"),
    "longitudes of other airports": ("airports", shuffled("lon"), "hours_from_sun"),
    "latitudes of other airports": ("airports", shuffled("lat"), "alaskan_lat"),
    "zones of other airports": ("airports", shuffled("tzone"), "hours_within_zone"),
    "without Chicago O'Hare": ("airports", lambda rows: rows.filter(pl.col("faa") != "ORD"), "faa"),
    "UTF-8 read as Latin 1": ("airports", some("name", "Saint-Exup\u00c3\u0089ry", every=700), "name"),
    "names of other carriers": ("airlines", every(name=pl.col("name").reverse()), "misnamed"),
    "one name for all": ("airlines", every(name=pl.lit("Delta Air Lines Inc.")), "name"),
    "numbers for codes": ("airlines", every(carrier=pl.int_range(pl.len()).cast(pl.String)), "carrier"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_refused_and_named_first(case):
    name, damage, named = BROKEN[case]
    outcome = check(name, damage(partition(name)))
    assert not outcome.passed
    assert named in outcome.summary
    broken = [row for row in outcome.table if not row["passed"]]
    assert list(outcome.table[: len(broken)]) == broken == list(outcome.evidence["broken"])


def test_last_month_s_copy_is_refused():
    copy = partition("flights", "2013-01").with_columns(month=pl.lit(2, pl.Int64), partition_key=pl.lit("2013-02"))
    assert "event_timestamp: values to be 2013-01-29" in check("flights", copy).summary


def test_a_person_sees_what_was_expected_what_was_found_and_the_worst_row():
    rows = some("dep_delay", 99_999, every=5_000)(partition("flights"))
    outcome = check("flights", rows)
    assert (
        "dep_delay: values to be -60 to 2880: 5 of 24,951 rows do not (0.0%), such as dep_delay=99999"
        in outcome.summary
    )
    assert "carrier=" in outcome.summary
    first = outcome.table[0]
    assert first["column"] == "dep_delay"
    assert first["expected"] == "-60 to 2880"
    assert (first["unexpected rows"], first["per cent"], first["worst values"]) == (5, 0.02, "99999")
    assert first["reason"] == "Minutes; two days at most."
    assert outcome.plot.startswith(b"\x89PNG")
    assert len(outcome.plot) < 50_000


def test_failing_rows_come_with_their_keys_and_every_rule_they_break():
    rows = some("dep_delay", 99_999, every=50)(partition("flights"))
    failing = check("flights", rows).failing
    assert failing.columns == [
        RULE,
        *source_named("flights").key,
        *[c for c in rows.columns if c in failing.columns[5:]],
    ]
    several = failing.filter(pl.col(RULE).str.contains("dep_delay: values to be -60 to 2880; ", literal=True))
    assert several["dep_delay"].unique().to_list() == [99_999]
    assert failing.select(rows.columns).join(rows, on=rows.columns, how="anti", nulls_equal=True).is_empty()


def test_no_more_than_a_thousand_failing_rows_are_kept_and_none_of_the_rules_is_left_out():
    damage = every(origin=pl.lit("LHR"), dep_delay=pl.lit(99_999, pl.Int64))
    failing = check("flights", damage(partition("flights"))).failing
    assert failing.height <= LIMIT
    assert all(
        failing[RULE].str.contains(text).any() for text in ("origin: values to be in set", "dep_delay: values to")
    )


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
def test_every_column_of_a_source_is_described(source):
    assert all(column.description for column in _column_schema(source).columns)
