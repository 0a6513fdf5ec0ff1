"""Raw tables as dbt on Spark finds them: the pinned version, the columns of today, in a folder of any name."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from ml.lake import Lake
from ml.warehouse import read_failing_rows, read_feature_table

NOON = datetime(2013, 3, 9, 12, tzinfo=UTC)


def trips(month, number, **more):
    columns = {"trip": [number], "event_timestamp": [NOON], "partition_key": [month], **more}
    return pl.DataFrame(columns, schema_overrides={"event_timestamp": pl.Datetime("us", "UTC")})


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    session = pytest.importorskip("pyspark.sql", reason="Spark is not installed; make spark installs it").SparkSession
    from ml.dbt_spark import session_settings
    from tests.ml.test_spark_store import SMALL

    return session.builder.config(map=session_settings(tmp_path_factory.mktemp("spark") / "dbt", SMALL)).getOrCreate()


@pytest.fixture
def lake(tmp_path):
    """Trips of two months, of which one is replaced and then gets a column; and stops that are not partitioned."""
    lake = Lake(tmp_path / "a lake, of 2013")
    lake.replace("raw/trips", pl.concat([trips("2013-01", 1), trips("2013-02", 2)]), ["2013-01", "2013-02"])
    lake.replace("raw/trips", trips("2013-02", 20), ["2013-02"])
    lake.replace("raw/trips", trips("2013-02", 200, late=[7.5]), ["2013-02"])
    lake.replace("raw/stops", pl.DataFrame({"stop": ["north"]}))
    return lake


def declared(spark, lake, **versions):
    from ml.spark_raw import declare_raw

    spark.sql("drop schema if exists raw cascade")
    return declare_raw(spark, lake, versions)


def rows(spark, query):
    return sorted(tuple(row) for row in spark.sql(query).collect())


def test_the_newest_version_is_read_with_the_columns_of_today(spark, lake):
    assert declared(spark, lake) == ["stops", "trips"]
    found = rows(spark, "select trip, late, partition_key from raw.trips")
    assert found == [(1, None, "2013-01"), (200, 7.5, "2013-02")]
    assert rows(spark, "select * from raw.stops") == [("north",)]
    assert rows(spark, "select unix_micros(event_timestamp) from raw.trips where trip = 1") == [
        (int(NOON.timestamp()) * 1_000_000,)
    ]


def test_a_pinned_version_is_read_as_it_was(spark, lake):
    declared(spark, lake, trips=1)
    assert spark.table("raw.trips").columns == ["trip", "event_timestamp", "partition_key"]
    assert rows(spark, "select trip, partition_key from raw.trips") == [(1, "2013-01"), (20, "2013-02")]


def test_a_version_that_is_not_there_is_refused(spark, lake):
    with pytest.raises(LookupError, match="raw/trips"):
        declared(spark, lake, trips=99)


def test_what_spark_wrote_is_read_like_what_duckdb_built(tmp_path):
    """As Spark lays out tables that it manages: <schema>.db/<table>, a folder of Parquet files each."""
    for schema, table in (("features", "o'hare"), ("failures", "trips_rows_1f")):
        (tmp_path / f"{schema}.db" / table).mkdir(parents=True)
        frame = pl.concat([trips("2013-01", 1), trips("2013-02", 2)]).with_columns(
            rule=pl.lit("twice"), created_timestamp="event_timestamp"
        )
        frame.write_parquet(tmp_path / f"{schema}.db" / table / "part-0.parquet")
    assert read_feature_table(tmp_path, "o'hare", ["2013-02"])["trip"].to_list() == [2]
    assert read_failing_rows(tmp_path, "failures.trips_rows_1f", 1, "rule")["event_timestamp"].to_list() == [NOON]
    with pytest.raises(LookupError, match="no failing rows"):
        read_failing_rows(tmp_path, "failures.another", 1, "rule")


@pytest.mark.parametrize(
    ("words", "lake", "java", "told"),
    [
        (["build"], "s3://bucket/lake", None, "reads a lake in a folder, not s3://bucket/lake"),
        (["build"], "lake", "/nowhere", "HEADWATER_DBT_OUTPUT=spark needs Java 17 or later"),
        (["test"], "lake", None, "dbt build tests what it builds"),
    ],
)
def test_dbt_on_spark_says_what_it_lacks_before_it_touches_anything(tmp_path, words, lake, java, told):
    kept = tmp_path / "dbt" / "features.db" / "trips"
    kept.mkdir(parents=True)
    environment = {**os.environ, "HEADWATER_PYTHON": sys.executable, "HEADWATER_DBT_LAKE": lake}
    environment |= {"HEADWATER_WAREHOUSE": str(tmp_path / "dbt"), **({"JAVA_HOME": java} if java else {})}
    script = Path(__file__).parents[2] / "ml" / "dbt_spark.sh"
    done = subprocess.run([script, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert told in done.stderr
    assert kept.exists()
