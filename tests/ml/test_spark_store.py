"""The same published tables through polars and through Feast's Spark store, in Spark's real local mode."""

import random
import subprocess
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ml.feature_store import historical_features, open_feature_store, published_versions
from ml.feature_views import FeatureView
from ml.packed import Field
from ml.spark_session import spark_settings
from tests.ml.small_store import GAUGES, SCHEMA, SmallStore, gauge, hour, rows_at

# Few rows: compiling what runs once is most of the work.
SMALL = {
    "spark.driver.memory": "1g",
    "spark.sql.shuffle.partitions": "1",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}
REACHES = FeatureView(
    name="reach_state",
    entities=("upper", "lower", "crew"),
    join_keys=("upper_id", "lower_id", "crew"),
    join_key_kinds=("string", "string", "int"),
    ttl=timedelta(hours=3),
    owner="team:hydrology",
    online=True,
    description="Flow between two gauges as each crew measured it.",
    fields=(Field("flow", "float"), Field("note", "string")),
)
VIEWS = (GAUGES, REACHES)
GAUGE_FEATURES = ["gauge_state:river", "gauge_state:level", "gauge_state:alarm", "gauge_state:readings"]
REACH_FEATURES = ["reach_state:flow", "reach_state:note"]
INSTANT = pl.Datetime("us", "UTC")
REACH_SCHEMA = {
    "upper_id": pl.String,
    "lower_id": pl.String,
    "crew": pl.Int64,
    "event_timestamp": INSTANT,
    "created_timestamp": INSTANT,
    "flow": pl.Float64,
    "note": pl.String,
    "partition_key": pl.String,
}


class TwoEngines:
    """A published lake, read by both engines."""

    def __init__(self, home, scratch):
        self.small = SmallStore(home)
        self.settings = spark_settings(scratch, SMALL)

    def publish(self, view, schema, *versions):
        frame = pl.DataFrame(versions, schema=schema, orient="row")
        months = frame["partition_key"].unique().to_list()
        staged = self.small.lake.replace(f"features/{view.name}", frame, months)
        self.small.publications.publish(view.name, dict.fromkeys(months, staged), actor="test")

    def open(self, engine, views=VIEWS):
        return open_feature_store(
            views,
            lake=self.small.lake.root,
            registry=self.small.home / "feast" / "registry.db",
            online_store=self.small.online,
            clock_file=self.small.home / "clock.json",
            versions=published_versions(self.small.publications, views),
            spark=self.settings if engine == "spark" else None,
        )

    def both(self, rows, references, views=VIEWS):
        return [historical_features(self.open(engine, views), rows, references) for engine in ("polars", "spark")]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    yield tmp_path_factory.mktemp("spark")
    from pyspark.sql import SparkSession

    if session := SparkSession.getActiveSession():
        session.stop()


@pytest.fixture
def engines(tmp_path, scratch):
    return TwoEngines(tmp_path, scratch)


def reach(upper, lower, crew, event, created, flow):
    return (upper, lower, crew, hour(event), hour(created), flow, f"flow {flow}", "2013-07")


def reach_rows(*rows):
    schema = {"upper_id": pl.String, "lower_id": pl.String, "crew": pl.Int64, "event_timestamp": INSTANT}
    return pl.DataFrame([(*row[:3], hour(row[3])) for row in rows], schema=schema, orient="row")


def test_histories_with_late_arrivals_corrections_and_ties_give_the_same_frame(engines):
    dice = random.Random(11)
    names, crews = ["a", "b", "ab", "bc", "c", ""], [1, 11, 2]

    def instants():
        event = dice.randint(0, 24)
        return event, event + dice.choice([0, 0, 0, 1, 5, -1])

    engines.publish(
        GAUGES, SCHEMA, *[gauge(dice.choice(names), *instants(), dice.choice([None, float(n)])) for n in range(300)]
    )
    engines.publish(
        REACHES,
        REACH_SCHEMA,
        *[reach(dice.choice(names), dice.choice(names), dice.choice(crews), *instants(), float(n)) for n in range(300)],
    )
    keys = [*names, "unknown", None]
    rows = reach_rows(
        *[(*dice.choices(keys, k=2), dice.choice([*crews, 9, None]), dice.randint(-1, 32)) for _ in range(500)]
    )
    rows = rows.with_columns(gauge_id="upper_id", number=pl.int_range(pl.len()))
    ours, theirs = engines.both(rows, [*GAUGE_FEATURES, *REACH_FEATURES])
    assert_frame_equal(ours, theirs)
    assert theirs["gauge_state__level"].count() > 100
    assert theirs["reach_state__flow"].count() > 20


def test_spark_knows_no_correction_before_it_was_made_and_keeps_every_row_in_order(engines):
    engines.publish(GAUGES, SCHEMA, gauge("a", 0, 0, 1.0), gauge("a", 0, 2, 2.0), gauge("a", 4, 4, 3.0))
    rows = [("a", 10), ("a", 11), (None, 4), ("a", 1), ("z", 4), ("a", 2), ("a", 1), ("a", -1), ("a", 4)]
    found = historical_features(engines.open("spark", [GAUGES]), rows_at(*rows), ["gauge_state:level"])
    assert found["gauge_state__level"].to_list() == [3.0, None, None, 1.0, None, 2.0, 1.0, None, 3.0]
    assert_frame_equal(found.drop("gauge_state__level"), rows_at(*rows))


def test_a_lake_on_an_object_store_is_refused_by_name(engines):
    engines.publish(GAUGES, SCHEMA, gauge("a", 0, 0, 1.0))
    store = engines.open("spark", [GAUGES])
    store.config.offline_store.lake = "s3://lake/headwater"
    with pytest.raises(NotImplementedError, match=r"this one is s3://lake/headwater.*HEADWATER_OFFLINE_STORE=polars"):
        historical_features(store, rows_at(("a", 1)), ["gauge_state:level"])


def test_composite_keys_that_read_the_same_stay_apart(engines):
    engines.publish(
        REACHES, REACH_SCHEMA, reach("a", "bc", 1, 0, 0, 1.0), reach("ab", "c", 1, 0, 0, 2.0),
        reach("a", "b", 11, 0, 0, 3.0), reach("a", "b1", 1, 0, 0, 4.0),
    )  # fmt: skip
    rows = reach_rows(("ab", "c", 1, 1), ("a", "bc", 1, 1), ("a", "b1", 1, 1), ("a", "b", 11, 1), ("a", None, 1, 1))
    found = historical_features(engines.open("spark", [REACHES]), rows, REACH_FEATURES)
    assert found["reach_state__flow"].to_list() == [2.0, 1.0, 4.0, 3.0, None]


def test_of_versions_equal_in_both_instants_the_later_row_counts_in_both_engines(engines):
    engines.publish(GAUGES, SCHEMA, *[gauge("a", 0, 0, float(level)) for level in (3, 1, 2)])
    ours, theirs = engines.both(rows_at(("a", 1), ("a", 1)), ["gauge_state:level"], [GAUGES])
    assert ours["gauge_state__level"].to_list() == theirs["gauge_state__level"].to_list() == [2.0, 2.0]


def test_spark_reads_the_version_that_was_admitted_not_the_newest_files(engines):
    engines.publish(GAUGES, SCHEMA, gauge("a", 0, 0, 1.0))
    before = engines.open("spark", [GAUGES])
    wider = {**SCHEMA, "added": pl.Float64}
    engines.publish(GAUGES, wider, (*gauge("a", 0, 0, 9.0)[:-1], "2013-07", 0.5), (*gauge("b", 0, 0, 7.0), None))
    rows = rows_at(("a", 1), ("b", 1))
    levels = [historical_features(store, rows, ["gauge_state:level"])["gauge_state__level"].to_list()
              for store in (before, engines.open("spark", [GAUGES]))]  # fmt: skip
    assert levels == [[1.0, None], [9.0, 7.0]]


def test_a_column_that_an_old_month_lacks_is_null_in_both_engines(engines):
    engines.publish(GAUGES, {k: v for k, v in SCHEMA.items() if k != "alarm"},
                    (*gauge("a", 0, 0, 3.0)[:-2], "2013-06"))  # fmt: skip
    engines.publish(GAUGES, SCHEMA, gauge("b", 0, 0, 3.0))
    ours, theirs = engines.both(rows_at(("a", 1), ("b", 1)), ["gauge_state:alarm"], [GAUGES])
    assert ours["gauge_state__alarm"].to_list() == theirs["gauge_state__alarm"].to_list() == [None, True]


def test_no_rows_give_no_rows_with_the_same_columns_and_types(engines):
    engines.publish(GAUGES, SCHEMA, gauge("a", 0, 0, 1.0))
    assert_frame_equal(*engines.both(rows_at(), GAUGE_FEATURES, [GAUGES]))


def test_moments_are_instants_whatever_their_zone(engines):
    engines.publish(GAUGES, SCHEMA, gauge("a", 0, 0, 1.0), gauge("a", 4, 4, 3.0))
    utc = rows_at(("a", 3), ("a", 4))
    zoned = utc.with_columns(pl.col("event_timestamp").dt.convert_time_zone("America/New_York"))
    ours, theirs = engines.both(zoned, ["gauge_state:level"], [GAUGES])
    assert_frame_equal(ours, theirs)
    assert theirs["gauge_state__level"].to_list() == [1.0, 3.0]
    naive = utc.with_columns(pl.col("event_timestamp").dt.replace_time_zone(None))
    with pytest.raises(ValueError, match="has no time zone"):
        historical_features(engines.open("spark", [GAUGES]), naive, ["gauge_state:level"])


def test_both_engines_pull_the_same_rows_for_materialization(engines):
    engines.publish(GAUGES, SCHEMA, gauge("a", 0, 0, 1.0), gauge("a", 0, 2, 2.0), gauge("a", 4, 4, 3.0),
                    gauge("b", 1, 1, None), gauge(None, 1, 1, 5.0))  # fmt: skip
    for pull in ("pull_latest_from_table_or_query", "pull_all_from_table_or_query"):
        frames = []
        for engine in ("polars", "spark"):
            store = engines.open(engine, [GAUGES])
            source = store.get_feature_view("gauge_state").batch_source
            columns = (["gauge_id"], ["level"], "event_timestamp", "created_timestamp")
            job = getattr(store._get_provider().offline_store, pull)(store.config, source, *columns, hour(0), hour(3))
            frames.append(job.to_polars())
        assert_frame_equal(*frames, check_row_order=False)


def test_what_does_not_fit_is_refused_before_spark_joins(engines):
    rows = rows_at(("a", 1))
    with pytest.raises(LookupError, match="materialize published/gauge_state"):
        historical_features(engines.open("spark", [GAUGES]), rows, ["gauge_state:level"])
    engines.publish(GAUGES, SCHEMA, gauge("a", 0, 0, 1.0))
    store = engines.open("spark", [GAUGES])
    with pytest.raises(ValueError, match="feature view 'gauge_state': join key 'gauge_id' is Int32"):
        historical_features(store, rows.with_columns(gauge_id=pl.lit(1)), ["gauge_state:level"])
    with pytest.raises(ValueError, match=r"no column \['gauge_id'\]"):
        historical_features(store, rows.drop("gauge_id"), ["gauge_state:level"])
    with pytest.raises(NotImplementedError, match="SQL"):
        store.get_historical_features(entity_df="select 1", features=["gauge_state:level"])


def test_changing_the_engine_changes_nothing_in_the_registry(engines):
    engines.open("polars")
    registry = engines.small.home / "feast" / "registry.db"
    before = registry.read_bytes()
    assert engines.open("spark").list_feature_views() == engines.open("polars").list_feature_views()
    assert registry.read_bytes() == before


def test_spark_leaves_nothing_in_the_current_folder(engines):
    engines.publish(GAUGES, SCHEMA, gauge("a", 0, 0, 1.0))
    historical_features(engines.open("spark", [GAUGES]), rows_at(("a", 1)), ["gauge_state:level"])
    left = {"spark-warehouse", "metastore_db", "derby.log", "artifacts"}
    assert not left & {path.name for path in Path.cwd().iterdir()}


def test_without_java_the_error_names_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(LookupError, match="apt-get install default-jre-headless"):
        spark_settings(tmp_path, {})


def test_without_pyspark_the_error_names_the_remedy():
    # The serving environment has none.
    ask = "from pathlib import Path; from ml.spark_session import spark_settings; spark_settings(Path('x'), {})"
    said = subprocess.run([".venv-serving/bin/python", "-c", ask], capture_output=True, text=True, check=False)
    assert "LookupError" in said.stderr
    assert "run make spark" in said.stderr


def test_a_clusters_settings_replace_those_of_local_mode(tmp_path):
    settings = spark_settings(tmp_path, {"spark.master": "spark://host:7077"})
    assert settings["spark.master"] == "spark://host:7077"
    assert settings["spark.sql.session.timeZone"] == "UTC"
    assert not {"spark.driver.bindAddress", "spark.local.dir", "spark.sql.shuffle.partitions"} & set(settings)
