import dataclasses
from datetime import timedelta

import pandas as pd
import polars as pl
import pytest

from ml.feature_store import historical_features
from ml.packed import Field
from tests.ml.small_store import GAUGES, SmallStore, gauge, hour, rows_at

LEVEL = "gauge_state:level"


@pytest.fixture
def small(tmp_path):
    store = SmallStore(tmp_path)
    store.publish(gauge("a", 0, 0, 1.0), gauge("a", 4, 4, 3.0), gauge("a", 0, 2, 2.0), gauge("b", 0, 0, None))
    return store


def levels(store, *rows):
    return historical_features(store, rows_at(*rows), [LEVEL])["gauge_state__level"].to_list()


def test_features_are_those_known_at_each_row(small):
    rows = [
        ("a", -1),
        ("a", 0),
        ("a", 1),
        ("a", 2),
        ("a", 4),
        ("a", 10),
        ("a", 11),
        (None, 4),
        ("c", 4),
        ("b", 1),
    ]
    assert levels(small.open(), *rows) == [None, 1.0, 1.0, 2.0, 3.0, 3.0, None, None, None, None]


def test_no_row_is_lost_reordered_or_merged(small):
    rows = rows_at(("a", 4), ("c", 0), ("a", 4), (None, 3), ("a", 1)).with_columns(
        note=pl.Series(["v", "w", "x", "y", "z"])
    )
    found = historical_features(small.open(), rows, ["gauge_state:river", LEVEL])
    assert found.columns == [*rows.columns, "gauge_state__river", "gauge_state__level"]
    assert found.select(rows.columns).equals(rows)


def test_a_correction_stays_unknown_without_the_callers_asking(small):
    frame = rows_at(("a", 1)).to_pandas()
    job = small.open().get_historical_features(entity_df=frame, features=[LEVEL])
    assert job.to_df()["level"].to_list() == [1.0]


def test_pandas_rows_give_the_same_values(small):
    rows = rows_at(("a", 4), ("a", 1))
    found = (
        small.open().get_historical_features(entity_df=rows.to_pandas(), features=[LEVEL, "gauge_state:alarm"]).to_df()
    )
    assert isinstance(found, pd.DataFrame)
    assert found[["level", "alarm"]].to_dict("list") == {"level": [3.0, 1.0], "alarm": [True, False]}


def test_a_store_reads_the_version_that_was_published_when_it_was_opened(small):
    before = small.open()
    small.publish(gauge("a", 0, 0, 9.0))
    assert levels(before, ("a", 1)) == [1.0]
    assert levels(small.open(), ("a", 1)) == [9.0]


def test_a_source_survives_feasts_registry(small):
    small.open()
    source = small.open().get_feature_view("gauge_state").batch_source
    assert (source.table, source.timestamp_field, source.created_timestamp_column) == (
        "gauge_state",
        "event_timestamp",
        "created_timestamp",
    )


def test_opening_again_writes_nothing_and_a_changed_view_replaces_the_old_one(small):
    small.open()
    registry = small.home / "feast" / "registry.db"
    before = registry.read_bytes()
    small.open()
    assert registry.read_bytes() == before

    changed = dataclasses.replace(GAUGES, ttl=timedelta(hours=48), fields=(Field("level", "float"),))
    view = small.open([changed]).get_feature_view("gauge_state")
    assert (view.ttl, [f.name for f in view.features]) == (timedelta(hours=48), ["level"])

    renamed = dataclasses.replace(GAUGES, name="gauge_history")
    assert [view.name for view in small.open([renamed]).list_feature_views()] == ["gauge_history"]


def test_pulling_the_latest_gives_each_entity_as_known_at_the_end(small):
    store = small.open()
    source = store.get_feature_view("gauge_state").batch_source
    arguments = (store.config, source, ["gauge_id"], ["level"], "event_timestamp", "created_timestamp")
    pulled = store._get_provider().offline_store.pull_latest_from_table_or_query(*arguments, hour(0), hour(3)).to_df()
    assert dict(
        zip(
            pulled["gauge_id"],
            pulled["level"].astype(object).where(pulled["level"].notna(), None),
            strict=True,
        )
    ) == {
        "a": 2.0,
        "b": None,
    }


def test_feasts_own_materialize_fills_the_online_store(small):
    store = small.open()
    store.materialize(hour(0), hour(3))
    small.clock.set(hour(3))
    assert store.get_online_features([LEVEL], [{"gauge_id": "a"}]).to_dict()["level"] == [2.0]


def test_what_is_not_supported_is_refused(small):
    store = small.open()
    with pytest.raises(NotImplementedError, match="SQL"):
        store.get_historical_features(entity_df="select 1", features=[LEVEL])
    with pytest.raises(NotImplementedError, match="date ranges"):
        store.get_historical_features(features=[LEVEL], start_date=hour(0), end_date=hour(1))


def test_an_unpublished_view_names_the_remedy(tmp_path):
    with pytest.raises(LookupError, match="materialize published/gauge_state"):
        levels(SmallStore(tmp_path).open(), ("a", 1))


def test_rows_of_the_wrong_key_type_are_refused_with_the_views_name(small):
    rows = rows_at(("a", 1)).with_columns(gauge_id=pl.lit(1))
    with pytest.raises(ValueError, match="feature view 'gauge_state': join key 'gauge_id' is Int32"):
        historical_features(small.open(), rows, [LEVEL])
