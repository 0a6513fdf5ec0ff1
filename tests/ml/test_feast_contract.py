"""What Feast promises of any offline store, asked of ours through its API; knowledge time differs on purpose."""

from datetime import timedelta

import pandas as pd
import pytest
from feast import Entity, FeatureService, FeatureView, Field, ValueType
from feast.errors import FeatureNameCollisionError, FeatureViewNotFoundException
from feast.types import Float64, String

from ml.delta_source import DeltaSource
from tests.ml.small_store import SmallStore, gauge, hour

EVENT_HOURS = (0, 1, 2, 4, 9)


@pytest.fixture
def store(tmp_path):
    small = SmallStore(tmp_path)
    small.publish(gauge("a", 0, 0, 1.0), gauge("a", 4, 4, 3.0), gauge("a", 0, 2, 2.0), gauge("b", 0, 0, 5.0))
    return small.open()


def source(name):
    return DeltaSource(
        name=name, table="gauge_state", timestamp_field="event_timestamp", created_timestamp_column="created_timestamp"
    )


def gauges():
    return Entity(name="gauge", join_keys=["gauge_id"], value_type=ValueType.STRING)


def over_the_same_table(name, ttl):
    schema = [Field(name="gauge_id", dtype=String), Field(name="level", dtype=Float64)]
    return FeatureView(name=name, entities=[gauges()], ttl=ttl, schema=schema, source=source(f"source_{name}"))


def rows(column="gauge_id", values=("a", "a", "b")):
    return pd.DataFrame({column: list(values), "event_timestamp": [hour(1), hour(20), hour(1)]})


def retrieve(store, frame, features, **options):
    return store.get_historical_features(entity_df=frame, features=features, **options).to_df()


@pytest.mark.parametrize("full", [True, False])
def test_features_bear_the_views_name_when_full_names_are_asked_for(store, full):
    found = retrieve(store, rows(), ["gauge_state:level"], full_feature_names=full)
    assert list(found.columns) == ["gauge_id", "event_timestamp", "gauge_state__level" if full else "level"]


def test_two_views_may_share_one_table_each_with_its_own_ttl(store):
    store.apply([gauges(), over_the_same_table("brief", timedelta(hours=1)), over_the_same_table("long", timedelta(0))])
    found = retrieve(store, rows(), ["brief:level", "long:level"], full_feature_names=True)
    assert found["brief__level"].isna().tolist() == [False, True, False]
    assert found["long__level"].tolist() == [1.0, 3.0, 5.0]


def test_features_that_would_have_one_name_are_refused_by_feast(store):
    store.apply([gauges(), over_the_same_table("brief", timedelta(hours=1))])
    with pytest.raises(FeatureNameCollisionError):
        retrieve(store, rows(), ["brief:level", "gauge_state:level"])


def test_an_unknown_view_is_feasts_error(store):
    with pytest.raises(FeatureViewNotFoundException, match="weather"):
        retrieve(store, rows(), ["weather:level"])


def test_a_view_joins_by_another_column_under_another_name(store):
    view = store.get_feature_view("gauge_state").with_name("upstream").with_join_key_map({"gauge_id": "upper"})
    service = FeatureService(name="upper_levels", features=[view[["level"]]])
    store.apply(service)
    found = retrieve(store, rows("upper"), service, full_feature_names=True)
    assert found["upstream__level"].isna().tolist() == [False, True, False]
    assert found["upper"].tolist() == ["a", "a", "b"]


def test_moments_with_and_without_a_zone_are_the_same_instants(store):
    aware = rows()
    naive = aware.assign(event_timestamp=aware["event_timestamp"].dt.tz_localize(None))
    zoned = aware.assign(event_timestamp=aware["event_timestamp"].dt.tz_convert("Asia/Kolkata"))
    levels = [retrieve(store, frame, ["gauge_state:level"])["level"].tolist() for frame in (aware, naive, zoned)]
    assert [str(level) for level in levels] == [str(levels[0])] * 3


def test_the_moments_column_may_have_any_name_if_it_is_the_only_one(store):
    frame = rows().rename(columns={"event_timestamp": "asked_at"})
    assert retrieve(store, frame, ["gauge_state:level"])["level"].tolist()[0] == 1.0


def test_a_back_filled_version_counts_from_its_creation_even_without_feasts_switch(store):
    """Feast's default would give the correction of hour 2 to the row of hour 1; we refuse that."""
    frame = pd.DataFrame({"gauge_id": ["a"] * 5, "event_timestamp": [hour(count) for count in EVENT_HOURS]})
    for switch in (True, False):
        found = retrieve(store, frame, ["gauge_state:level"], filter_by_created_timestamp=switch)
        assert found["level"].tolist() == [1.0, 1.0, 2.0, 3.0, 3.0]


def test_the_job_says_what_it_retrieves(store):
    job = store.get_historical_features(entity_df=rows(), features=["gauge_state:level"])
    assert (job.metadata.features, job.metadata.keys) == (["gauge_state:level"], ["gauge_id"])
    assert job.to_arrow().num_rows == 3
