from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from ml.clock import ReplayClock
from ml.lake import Lake
from ml.landing import land
from ml.months import Months
from ml.source import CsvReader, ParquetReader, Source, SqlReader

COLUMNS = {
    "station": (pl.String(), "Name of the river gauge."),
    "day": (pl.Date(), "Day of the reading."),
    "level": (pl.Float64(), "Water level in centimetres."),
}


def known_next_day(frame):
    return frame.select(
        pl.col("day").cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + timedelta(days=1)
    ).to_series()


def gauges(reader, **changes):
    """A source from another field, declared in one expression."""
    given = {
        "name": "river_gauges",
        "description": "Daily water levels.",
        "owner": "team:hydrology",
        "reader": reader,
        "columns": COLUMNS,
        "key": ("station", "day"),
        "known_at": known_next_day,
        "partition": pl.col("day").dt.strftime("%Y-%m"),
        "months": Months("2013-01", "2013-12"),
    }
    return Source(**{**given, **changes})


CSV = "station,day,level\nUpper,2013-01-30,101.5\nUpper,2013-02-01,99\nLower,2013-02-01,NA\n"


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "gauges.csv"
    path.write_text(CSV)
    return path


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


@pytest.fixture
def clock(tmp_path):
    clock = ReplayClock(tmp_path / "clock.json")
    clock.set(datetime(2013, 3, 1, tzinfo=UTC))
    return clock


MONTHS = ["2013-01", "2013-02"]


def test_a_sixth_unrelated_csv_becomes_a_raw_table_by_one_declaration(csv, lake, clock):
    landings = list(land(gauges(CsvReader(csv)), lake, clock, MONTHS))
    assert [(x.partition, x.rows) for x in landings] == [("2013-01", 1), ("2013-02", 2)]
    rows = lake.read("raw/river_gauges").sort("day", "station").collect()
    assert rows["level"].to_list() == [101.5, None, 99.0]
    assert rows["event_timestamp"][0] == datetime(2013, 1, 31, tzinfo=UTC)
    assert rows["created_timestamp"].equals(rows["event_timestamp"])


def test_parquet_and_sql_land_like_csv(csv, lake, clock, tmp_path):
    frame = CsvReader(csv).read({k: t for k, (t, _) in COLUMNS.items()})
    frame.write_parquet(tmp_path / "gauges.parquet")
    url = f"sqlite:///{tmp_path / 'gauges.db'}"
    frame.with_columns(pl.col("day").cast(pl.String)).write_database("gauges", url, engine="sqlalchemy")
    sql = SqlReader(lambda: url, "select * from gauges")
    columns = {**COLUMNS, "day": (pl.String(), "Day as text.")}
    by_text = {
        "columns": columns,
        "name": "from_sql",
        "known_at": lambda f: f["day"].str.to_datetime(time_zone="UTC"),
        "partition": pl.col("day").str.slice(0, 7),
    }
    parquet = gauges(ParquetReader(str(tmp_path / "gauges.parquet")), name="from_parquet")
    for source in (parquet, gauges(sql, **by_text)):
        assert sum(x.rows for x in land(source, lake, clock, MONTHS)) == 3


def test_landing_the_same_rows_again_writes_nothing(csv, lake, clock):
    first = list(land(gauges(CsvReader(csv)), lake, clock, MONTHS))
    again = list(land(gauges(CsvReader(csv)), lake, clock, MONTHS))
    assert [x.version for x in again] == [x.version for x in first]
    assert [x.content for x in again] == [x.content for x in first]
    assert [x.added for x in again] == [0, 0]


def test_a_correction_is_a_new_version_known_now_and_the_original_stays(csv, lake, clock):
    list(land(gauges(CsvReader(csv)), lake, clock, MONTHS))
    csv.write_text(CSV.replace("101.5", "111.5"))
    (landing,) = land(gauges(CsvReader(csv)), lake, clock, ["2013-01"])
    rows = lake.read("raw/river_gauges", partitions=["2013-01"]).sort("created_timestamp").collect()
    assert (landing.rows, landing.added) == (2, 1)
    assert rows["level"].to_list() == [101.5, 111.5]
    assert rows["event_timestamp"].n_unique() == 1
    assert rows["created_timestamp"].to_list() == [datetime(2013, 1, 31, tzinfo=UTC), clock.now()]


def test_a_row_that_vanishes_stays_and_is_counted(csv, lake, clock):
    list(land(gauges(CsvReader(csv)), lake, clock, MONTHS))
    csv.write_text(CSV.replace("Lower,2013-02-01,NA\n", ""))
    (landing,) = land(gauges(CsvReader(csv)), lake, clock, ["2013-02"])
    assert (landing.rows, landing.vanished) == (2, 1)


def test_a_batch_that_failed_its_checks_leaves_no_trace_in_the_next(csv, lake, clock):
    csv.write_text(CSV.replace("101.5", "-1"))
    (bad,) = land(gauges(CsvReader(csv)), lake, clock, ["2013-01"])
    csv.write_text(CSV)
    (mended,) = land(gauges(CsvReader(csv)), lake, clock, ["2013-01"], good=lambda version, _: version != bad.version)
    rows = lake.read("raw/river_gauges", partitions=["2013-01"]).collect()
    assert mended.version == bad.version + 1
    assert rows["level"].to_list() == [101.5]
    assert rows["created_timestamp"].equals(rows["event_timestamp"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CSV.replace("level", "depth"), r"missing \['level'\], surplus \['depth'\]"),
        (CSV.replace("101.5", "high"), r"gauges\.csv does not fit"),
    ],
)
def test_a_source_that_does_not_fit_is_named_and_nothing_lands(csv, lake, clock, text, message):
    csv.write_text(text)
    with pytest.raises(ValueError, match=message):
        list(land(gauges(CsvReader(csv)), lake, clock, MONTHS))
    assert not lake.exists("raw/river_gauges")


def test_a_missing_file_and_a_missing_month_are_named(csv, lake, clock, tmp_path):
    with pytest.raises(LookupError, match=r"nowhere\.csv is missing"):
        list(land(gauges(CsvReader(tmp_path / "nowhere.csv")), lake, clock, MONTHS))
    with pytest.raises(LookupError, match="no rows for 2013-07"):
        list(land(gauges(CsvReader(csv)), lake, clock, ["2013-07"]))
