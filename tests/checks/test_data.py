import polars as pl
import pytest

from assets.raw import _column_schema
from checks.data import check_expectations, suite_for
from ml.sources import SOURCES, source_named
from ml.sources.nycflights13 import LOCAL_MONTH

FLIGHTS = source_named("flights")


@pytest.fixture(scope="module")
def february():
    rows = FLIGHTS.read().filter(LOCAL_MONTH == "2013-02")
    known = FLIGHTS.known_at(rows)
    return rows.with_columns(event_timestamp=known, created_timestamp=known)


def test_a_clean_month_passes_every_expectation(february):
    outcome = check_expectations(FLIGHTS, february)
    assert outcome.passed, outcome.summary
    assert len(outcome.table) == len(suite_for(FLIGHTS))


CORRUPTIONS = {
    "dropped column": (lambda f: f.drop("air_time"), "air_time"),
    "unknown airport": (lambda f: f.with_columns(origin=pl.lit("LHR")), "origin"),
    "hours for minutes": (lambda f: f.with_columns(dep_delay=pl.col("dep_delay") * 60), "dep_delay"),
    "half the month": (lambda f: f.head(f.height // 2), "row_count"),
    "rows twice": (lambda f: pl.concat([f, f.head(100)]), "compound_columns"),
    "nulls": (lambda f: f.with_columns(arr_delay=pl.lit(None, pl.Int64)), "arr_delay"),
    "arrival before departure": (
        lambda f: f.with_columns(event_timestamp=pl.col("time_hour") - pl.duration(hours=5)),
        "event_timestamp",
    ),
    "kilometres for miles": (lambda f: f.with_columns(distance=(pl.col("distance") * 16) // 10), "distance"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_month_fails_and_the_evidence_names_the_column(february, name):
    corrupt, named = CORRUPTIONS[name]
    outcome = check_expectations(FLIGHTS, corrupt(february))
    assert not outcome.passed
    broken = [f"{row['expectation']} {row['expected']}" for row in outcome.table if not row["passed"]]
    assert any(named in line for line in broken)


@pytest.mark.parametrize("source", [s for s in SOURCES if s.partition is None], ids=lambda s: s.name)
def test_every_reference_table_fits_its_declared_contract(source):
    rows = source.read()
    known = source.known_at(rows)
    outcome = check_expectations(source, rows.with_columns(event_timestamp=known, created_timestamp=known))
    assert outcome.passed, outcome.summary


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.name)
def test_every_column_of_a_source_is_described(source):
    assert all(column.description for column in _column_schema(source).columns)
