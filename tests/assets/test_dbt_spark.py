"""The same features SQL by dbt on DuckDB and on Spark, through Dagster: a month of nine real days, value by value."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
import pytest

from assets.built_columns import built_columns
from assets.column_lineage import ENTRY, LINEAGE
from assets.resources import Platform
from checks.dbt_tests import CHECK
from ml.clock import ReplayClock
from ml.recipe import recipe_of
from ml.settings import Settings
from ml.sources import SOURCES
from ml.view_definitions import load_definitions
from tests.assets.test_view_versions import Home, land_days
from tests.ml.test_dbt_features import PROJECT, TABLES
from tests.ml.test_spark_store import SMALL

pytest.importorskip("dbt.adapters.spark", reason="dbt-spark is not installed; make spark installs it")

MARCH = "2013-03"
STAGING = ("airlines", "airports", "flights", "planes", "weather")
BUILT = [*(f"staging/stg_nycflights__{name}" for name in STAGING), *(f"features/{name}" for name in TABLES)]
NO_ROWS_OF_ITS_OWN = ["aircraft"]  # all registrations became known when the year began


@dataclass
class SparkHome(Home):
    """A home whose dbt builds on Spark."""

    @property
    def platform(self):
        settings = Settings(home=self.folder / "home", dbt_output="spark", spark_conf=SMALL)
        return Platform(settings, self.project)


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    """March built on DuckDB, and in a copy of the same raw tables on Spark."""
    local = Home(tmp_path_factory.mktemp("engines") / "duckdb")
    shutil.copytree(PROJECT, local.project, ignore=shutil.ignore_patterns("target", "logs"))
    ReplayClock(local.platform.settings.clock_file).set(datetime(2013, 3, 20, tzinfo=UTC))
    land_days(local.platform)
    spark = SparkHome(shutil.copytree(local.folder, local.folder.parent / "spark"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADWATER_SPARK_CONF", "{}")  # what dbt is told here, nobody is told afterwards
        for home in (spark, local):
            home.built = home.run(*BUILT, months=[MARCH])
            assert home.built.success
    return local, spark


def rows_of(home, name):
    return home.platform.lake.read(f"features/{name}").collect()


def test_every_value_of_the_month_is_the_same_on_both_engines(homes):
    compared = 0
    for name in TABLES:
        on_duckdb, on_spark = (rows_of(home, name) for home in homes)
        assert on_duckdb.height > 200 or name in NO_ROWS_OF_ITS_OWN
        assert on_spark.schema == on_duckdb.schema
        assert on_spark.equals(on_duckdb), name
        compared += on_duckdb.height * on_duckdb.width
    assert compared > 100_000


def test_what_spark_built_passed_the_same_dbt_tests(homes):
    for name in TABLES:
        told = []
        for home in homes:
            verdicts = [v for v, _ in home.platform.verdicts.newest_verdicts(f"features/{name}") if v.check == CHECK]
            told += [(v.partition, v.passed, v.evidence["summary"]) for v in verdicts]
        assert [each[:2] for each in told] == [(MARCH, True), (MARCH, True)]
        assert told[0] == told[1]


def test_the_recipe_of_what_spark_built_is_duckdb_s_so_the_leakage_audit_can_make_it_again(homes):
    for name in TABLES:
        on_duckdb, on_spark = (
            recipe_of(home.platform.lake.history(f"features/{name}")[0]["metadata"]) for home in homes
        )
        assert on_spark == on_duckdb
        assert "raw/flights" in on_spark.raw or name in ("aircraft", "weather_observation")


def test_column_lineage_is_read_from_each_engine_s_own_sql_and_agrees(homes):
    on_duckdb, on_spark = (built_columns(home.platform, SOURCES) for home in homes)
    assert on_spark.failed == on_duckdb.failed == {}
    assert set(on_spark.made) == set(on_duckdb.made) == set(BUILT)
    for table in on_spark.made:
        assert on_spark.columns[table] == on_duckdb.columns[table]
        assert on_spark.row_columns(table) == on_duckdb.row_columns(table)
        for name in on_spark.columns[table]:
            assert on_spark.raw_columns((table, name)) == on_duckdb.raw_columns((table, name))


def test_dagster_s_own_record_of_columns_is_the_same(homes):
    recorded = []
    for home in homes:
        events = [event.materialization for event in home.built.get_asset_materialization_events()]
        (event,) = (event for event in events if event.asset_key == dg.AssetKey(["features", "aircraft_state"]))
        assert ENTRY in event.metadata
        parents = event.metadata[LINEAGE].value.deps_by_column
        recorded.append({column: {(d.asset_key, d.column_name) for d in found} for column, found in parents.items()})
    assert recorded[0]["last_turnaround"] == recorded[1]["last_turnaround"] != set()


def test_a_view_s_definition_does_not_depend_on_the_engine(homes):
    """Otherwise building elsewhere would be refused as changed SQL of a view in use."""
    on_duckdb, on_spark = (load_definitions(home.platform.manifest) for home in homes)
    assert on_spark == on_duckdb
    assert any("duckdb__seconds_of" in part.name for part in on_spark["aircraft_state"].parts)
    assert any("spark__seconds_of" in part.name for part in on_duckdb["aircraft_state"].parts)
