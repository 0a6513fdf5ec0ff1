from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from ml.as_of import NOT_YET, RawHistory
from ml.months import Months
from ml.source import KnownEarlier, ParquetReader, Source
from ml.sources import source_named

INSTANT = pl.Datetime("us", "UTC")


def hour(count):
    return datetime(2013, 7, 1, tzinfo=UTC) + timedelta(hours=count)


TRIPS = Source(
    name="trips",
    description="Bus trips.",
    owner="team:tests",
    reader=ParquetReader("nowhere"),
    columns={
        "trip": (pl.Int64(), "Trip."),
        "bus": (pl.String(), "Bus."),
        "left": (INSTANT, "When it left."),
        "riders": (pl.Int64(), "Who got on at the first stop; counted there."),
        "late": (pl.Int64(), "Minutes late at the end."),
    },
    key=("trip",),
    known_at=lambda rows: rows["left"],
    partition=pl.col("left").dt.strftime("%Y-%m"),
    months=Months("2013-07"),
    known_earlier=(
        KnownEarlier(("bus", "left"), lambda rows: rows["left"]),
        KnownEarlier(("riders",), lambda rows: rows["left"] + timedelta(minutes=30)),
    ),
)


def version(trip, left, arrived, created=None, late=5):
    return (trip, "A", hour(left), 7, late, hour(arrived), hour(arrived if created is None else created), "2013-07")


SCHEMA = {**TRIPS.schema, "event_timestamp": INSTANT, "created_timestamp": INSTANT, "partition_key": pl.String}


def history(*versions):
    return RawHistory(TRIPS, pl.DataFrame(versions, schema=SCHEMA, orient="row"))


def test_a_row_is_known_from_its_knowledge_time_on():
    known = history(version(1, 0, 2))
    assert known.known(hour(2)).to_dicts() == known.all().to_dicts()
    assert known.known(hour(0) - timedelta(microseconds=1)).is_empty()


def test_of_a_trip_under_way_only_the_declared_part_is_known():
    (row,) = history(version(1, 0, 2)).known(hour(1)).to_dicts()
    assert (row["trip"], row["bus"], row["left"], row["riders"]) == (1, "A", hour(0), 7)
    assert row["late"] is None
    assert row["event_timestamp"] == row["created_timestamp"] == hour(1) + NOT_YET
    (row,) = history(version(1, 0, 2)).known(hour(0.25)).to_dicts()
    assert (row["bus"], row["riders"]) == ("A", None)


def test_a_correction_has_no_part_that_is_known_before_it():
    known = history(version(1, 0, 2), version(1, 0, 2, created=5, late=9)).known(hour(4))
    assert known["late"].to_list() == [5]
    assert history(version(1, 0, 2, created=5)).known(hour(4)).is_empty()


def test_rows_of_a_span_are_those_whose_event_lies_in_it():
    rows = [version(1, 0, 1), version(2, 2, 3), version(3, 3, 6)]
    assert history(*rows).known(hour(4), since=hour(2))["trip"].to_list() == [2, 3]


def test_what_became_known_when():
    known = history(version(1, 0, 2), version(2, 1, 4))
    assert known.knowledge(hour(0), hour(2)) == [hour(0.5), hour(1), hour(1.5), hour(2)]
    assert known.new_at(hour(1.5))["trip"].to_list() == [2]


def test_a_real_flight_in_the_air_shows_its_departure_and_no_more():
    source = source_named("flights")
    rows = source.read().filter(month=7, day=10, tailnum="N593JB").with_columns(partition_key=pl.lit("2013-07"))
    known = source.known_at(rows).cast(INSTANT).alias("event_timestamp")
    rows = rows.with_columns(known, known.alias("created_timestamp"))
    (part,) = source.known_earlier
    departed = part.known_at(rows)[0]
    seen = RawHistory(source, rows).known(departed).filter(pl.col("dep_time") == rows["dep_time"][0])
    assert seen["dep_delay"].to_list() == [rows["dep_delay"][0]]
    assert seen.select("arr_time", "arr_delay", "air_time").row(0) == (None, None, None)
    assert seen["event_timestamp"][0] > rows["event_timestamp"].max()
    assert set(part.columns) <= set(source.schema)


@pytest.mark.parametrize("name", ["weather", "planes"])
def test_other_sources_are_known_whole_or_not_at_all(name):
    assert source_named(name).known_earlier == ()
