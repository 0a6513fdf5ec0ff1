"""What Feast's offline interface does besides the plain join: lazy rows, files, pushed rows, saved data, bad input."""

import shutil
from datetime import timedelta

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.data_format import DeltaFormat
from feast.errors import FeatureViewNotFoundException, SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.types import Float64, Int64, String

from ml.feature_store import open_feature_store
from tests.ml.small_store import GAUGES, SmallStore, gauge, hour, rows_at

LEVEL = "gauge_state:level"


@pytest.fixture
def small(tmp_path):
    store = SmallStore(tmp_path)
    store.publish(gauge("a", 0, 0, 1.0), gauge("a", 4, 4, 3.0), gauge("a", 0, 2, 2.0), gauge("b", 0, 0, None))
    return store


ASKED = [("a", 4), ("c", 0), ("a", 1), (None, 3), ("a", 4), ("a", 11)]
LEVELS = [3.0, None, 1.0, None, 3.0, None]


def retrieve(store, rows, features=(LEVEL,)):
    return store.get_historical_features(entity_df=rows, features=list(features))


@pytest.mark.parametrize("kind", [pl.DataFrame, pl.DataFrame.lazy, pl.DataFrame.to_arrow, pl.DataFrame.to_pandas])
def test_entity_rows_of_any_frame_give_the_same_values(small, kind):
    assert retrieve(small.open(), kind(rows_at(*ASKED))).to_polars()["level"].to_list() == LEVELS


def test_lazy_rows_are_joined_and_written_slice_by_slice(small, tmp_path):
    rows_at(*ASKED).write_parquet(tmp_path / "rows.parquet")
    said = []
    job = retrieve(small.open(), pl.scan_parquet(tmp_path / "rows.parquet"))
    files = job.to_parquet(tmp_path / "out", rows=4, progress=said.append)
    assert [pl.read_parquet(file).height for file in files] == [4, 2]
    assert pl.read_parquet(files)["level"].to_list() == LEVELS
    assert said[-1] == "6 entity rows joined and written to part-00001.parquet"
    with pytest.raises(FileExistsError, match="empty folder"):
        job.to_parquet(tmp_path / "out")


def test_no_entity_rows_give_no_rows_of_the_right_columns(small):
    found = retrieve(small.open(), rows_at()).to_arrow()
    assert found.num_rows == 0
    assert found.schema.field("level").type == pa.float64()


def test_a_join_within_a_small_budget_gives_the_same_values(small):
    store = open_feature_store(
        [GAUGES],
        lake=small.lake.root,
        registry=small.home / "feast" / "registry.db",
        online_store=small.online,
        clock_file=small.home / "clock.json",
        versions={"gauge_state": small.publications.current("gauge_state").version},
        memory_mb=0.0001,
    )
    assert retrieve(store, rows_at(*ASKED)).to_polars()["level"].to_list() == LEVELS


def test_rows_written_through_feast_wait_for_their_checks(small):
    store = small.open()
    pushed = pd.DataFrame([gauge("a", 5, 5, 9.0)], columns=list(pl.DataFrame(schema=_schema()).columns))
    store.write_to_offline_store("gauge_state", pushed.drop(columns="partition_key"))
    assert small.lake.read("pushed/gauge_state").collect()["level"].to_list() == [9.0]
    assert retrieve(store, rows_at(("a", 5))).to_polars()["level"].to_list() == [3.0]
    store.config.offline_store.read_pushed = True
    assert retrieve(store, rows_at(("a", 5), ("a", 4))).to_polars()["level"].to_list() == [9.0, 3.0]


def _schema():
    from tests.ml.small_store import SCHEMA

    return SCHEMA


def test_rows_with_nulls_in_keys_are_not_written(small):
    rows = pl.DataFrame([gauge(None, 5, 5, 9.0)], schema=_schema(), orient="row").drop("partition_key")
    view = small.open().get_feature_view("gauge_state")
    store = small.open()
    with pytest.raises(ValueError, match="'gauge_state' have 1 nulls in 'gauge_id'"):
        store._get_provider().offline_store.offline_write_batch(store.config, view, rows.to_arrow(), None)
    assert not small.lake.exists("pushed/gauge_state")


def test_a_result_is_saved_as_a_dataset_once(small, tmp_path):
    store, storage = small.open(), SavedDatasetFileStorage(str(tmp_path / "saved" / "levels.parquet"))
    job = retrieve(store, rows_at(*ASKED))
    saved = store.create_saved_dataset(from_=job, name="levels", storage=storage)
    assert sorted(saved.to_df()["level"].dropna()) == [1.0, 3.0, 3.0]
    assert pl.read_parquet(tmp_path / "saved" / "levels.parquet")["level"].to_list() == LEVELS
    with pytest.raises(SavedDatasetLocationAlreadyExists, match=r"levels\.parquet"):
        job.persist(storage)


@pytest.fixture
def files(small, tmp_path):
    """A view on Parquet with columns of other names, two join keys of which one is a number, and no created time."""
    frame = pl.DataFrame(
        {"site": ["x", "x", "y"], "pump": [1, 2, 1], "at": [hour(0), hour(1), hour(2)], "flow": [1.0, 2.0, 3.0]}
    )
    frame.write_parquet(tmp_path / "pumps.parquet")
    source = FileSource(path=str(tmp_path / "pumps.parquet"), timestamp_field="at", field_mapping={"flow": "litres"})
    entities = [
        Entity(name="site", join_keys=["site"], value_type=ValueType.STRING),
        Entity(name="pump", join_keys=["pump"], value_type=ValueType.INT64),
    ]
    schema = [Field(name="site", dtype=String), Field(name="pump", dtype=Int64), Field(name="litres", dtype=Float64)]
    store = small.open()
    store.apply(
        [*entities, FeatureView(name="pumps", entities=entities, ttl=timedelta(hours=5), schema=schema, source=source)]
    )
    return store


def test_parquet_files_with_mapped_columns_and_composite_keys_are_joined(files):
    asked = pl.DataFrame(
        {"pump": [1, 2, 1, 1], "site": ["x", "x", "y", "x"], "event_timestamp": [hour(h) for h in (3, 0, 2, 6)]}
    )
    assert retrieve(files, asked, ["pumps:litres"]).to_polars()["litres"].to_list() == [1.0, None, 3.0, None]


def test_a_missing_file_and_a_missing_column_are_named(files, tmp_path):
    asked = pl.DataFrame({"pump": [1], "site": ["x"], "event_timestamp": [hour(3)]})
    pl.read_parquet(tmp_path / "pumps.parquet").drop("flow").write_parquet(tmp_path / "pumps.parquet")
    with pytest.raises(LookupError, match=r"no column \['flow'\].*pumps.parquet"):
        retrieve(files, asked, ["pumps:litres"]).to_polars()
    (tmp_path / "pumps.parquet").unlink()
    with pytest.raises(LookupError, match=r"cannot be read from .*pumps.parquet"):
        retrieve(files, asked, ["pumps:litres"]).to_polars()


def test_a_delta_table_elsewhere_is_joined_and_a_missing_one_is_named(small, tmp_path):
    frame = pl.DataFrame({"site": ["x", "x"], "at": [hour(0), hour(2)], "flow": [1.0, 2.0]})
    frame.write_delta(tmp_path / "flows")
    source = FileSource(path=str(tmp_path / "flows"), timestamp_field="at", file_format=DeltaFormat())
    entity = Entity(name="site", join_keys=["site"], value_type=ValueType.STRING)
    schema = [Field(name="site", dtype=String), Field(name="flow", dtype=Float64)]
    store = small.open()
    store.apply([entity, FeatureView(name="flows", entities=[entity], schema=schema, source=source)])
    asked = pl.DataFrame({"site": ["x", "x"], "event_timestamp": [hour(1), hour(2)]})
    assert retrieve(store, asked, ["flows:flow"]).to_polars()["flow"].to_list() == [1.0, 2.0]
    shutil.rmtree(tmp_path / "flows")
    with pytest.raises(LookupError, match=r"cannot be read from .*flows"):
        retrieve(store, asked, ["flows:flow"]).to_polars()


def test_naive_moments_wrong_keys_and_missing_columns_are_named_with_the_remedy(small):
    store = small.open()
    naive = rows_at(("a", 1)).with_columns(pl.col("event_timestamp").dt.replace_time_zone(None))
    with pytest.raises(ValueError, match=r"'event_timestamp' of the entity rows has no time zone.*replace_time_zone"):
        retrieve(store, naive).to_polars()
    with pytest.raises(ValueError, match=r"feature view 'gauge_state': join key 'gauge_id' is Int64.*cast it"):
        retrieve(store, rows_at(("a", 1)).with_columns(gauge_id=pl.lit(1, pl.Int64))).to_polars()
    with pytest.raises(ValueError, match=r"entity rows have no column \['gauge_id'\]"):
        retrieve(store, rows_at(("a", 1)).drop("gauge_id")).to_polars()
    with pytest.raises(ValueError, match="need one instant column"):
        retrieve(store, rows_at(("a", 1)).drop("event_timestamp"))
    with pytest.raises(FeatureViewNotFoundException, match="gauge_stat"):
        retrieve(store, rows_at(("a", 1)), ["gauge_stat:level"])


def test_an_unknown_feature_is_named(small):
    with pytest.raises(Exception, match="depth"):
        retrieve(small.open(), rows_at(("a", 1)), ["gauge_state:depth"])


def test_a_view_without_entities_has_one_history_for_all_rows(small):
    store: FeatureStore = small.open()
    source = store.get_feature_view("gauge_state").batch_source
    store.apply([FeatureView(name="everywhere", schema=[Field(name="level", dtype=Float64)], source=source)])
    found = retrieve(store, rows_at(("a", 5), ("c", 3), ("b", -1)), ["everywhere:level"]).to_polars()
    assert found.columns == ["gauge_id", "event_timestamp", "level"]
    assert found["level"].to_list() == [3.0, 2.0, None]


def test_a_mapping_may_rename_the_instants_too(small, tmp_path):
    pl.DataFrame({"site": ["x"], "seen": [hour(1)], "flow": [1.0]}).write_parquet(tmp_path / "f.parquet")
    mapping = {"seen": "at", "flow": "litres"}
    source = FileSource(path=str(tmp_path / "f.parquet"), timestamp_field="at", field_mapping=mapping)
    entity = Entity(name="site", join_keys=["site"], value_type=ValueType.STRING)
    schema = [Field(name="site", dtype=String), Field(name="litres", dtype=Float64)]
    store = small.open()
    store.apply([entity, FeatureView(name="flows", entities=[entity], schema=schema, source=source)])
    asked = pl.DataFrame({"site": ["x", "x"], "event_timestamp": [hour(0), hour(1)]})
    assert retrieve(store, asked, ["flows:litres"]).to_polars()["litres"].to_list() == [None, 1.0]
