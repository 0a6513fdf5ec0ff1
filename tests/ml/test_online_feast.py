"""Feast's own write paths end in our packed rows, on both stores."""

from datetime import timedelta

import pandas as pd
import pytest

from ml.clock import ReplayClock
from ml.feature_store import open_feature_store
from ml.feature_views import FeatureView
from ml.online_rows import open_online_rows, read
from ml.packed import Field, entity_key, unpack
from tests.ml.small_store import SmallStore, gauge, hour

ROUTES = FeatureView(
    name="routes",
    entities=("origin_lock", "target_lock"),
    join_keys=("origin", "target"),
    join_key_kinds=("string", "int"),
    ttl=timedelta(hours=6),
    owner="team:hydrology",
    online=True,
    description="A composite key of two kinds, and every kind of feature.",
    fields=(Field("level", "float"), Field("boats", "int"), Field("captain", "string"), Field("open", "bool")),
)
REFERENCES = [f"routes:{field.name}" for field in ROUTES.fields]


@pytest.fixture
def small(tmp_path, online_address):
    return SmallStore(tmp_path, online_address)


@pytest.fixture
def routes(tmp_path, online_address):
    ReplayClock(tmp_path / "clock.json").set(hour(2))
    return open_feature_store(
        [ROUTES],
        lake=tmp_path / "lake",
        registry=tmp_path / "feast" / "registry.db",
        online_store=online_address,
        clock_file=tmp_path / "clock.json",
        versions={},
    )


def frame(*rows):
    columns = ("origin", "target", "event_timestamp", "created_timestamp", "level", "boats", "captain", "open")
    return pd.DataFrame(rows, columns=columns).astype({"boats": "Int64"})


def ask(store, *entities):
    found = store.get_online_features(REFERENCES, list(entities)).to_dict()
    return list(zip(*(found[field.name] for field in ROUTES.fields), strict=True))


@pytest.mark.parametrize("way", ["push", "write"])
def test_what_feast_pushes_or_writes_is_read_with_keys_in_any_order_and_nulls_as_nulls(routes, way):
    rows = frame(("A", 1, hour(0), hour(0), 1.5, 3, "Ätna", True), ("A", 2, hour(1), hour(1), None, None, None, None))
    if way == "push":
        routes.push("routes_events", rows)
    else:
        routes.write_to_online_store("routes", rows)
    keys = [{"origin": "A", "target": 1}, {"target": 2, "origin": "A"}, {"origin": "B", "target": 1}]
    assert ask(routes, {"target": 1, "origin": "A"}) == [(1.5, 3, "Ätna", True)]
    assert ask(routes, *[dict(sorted(key.items())) for key in keys]) == [
        (1.5, 3, "Ätna", True),
        (None,) * 4,
        (None,) * 4,
    ]


def test_what_feast_writes_is_the_row_that_the_lean_reader_reads(routes, online_address):
    routes.write_to_online_store("routes", frame(("A", 1, hour(0), hour(1), 1.5, 3, "Ätna", True)))
    (row,) = read(open_online_rows(online_address), "routes", [entity_key({"target": 1, "origin": "A"})])
    instants = [round(hour(n).timestamp() * 1e6) for n in (0, 1)]
    assert unpack(ROUTES.fields, row) == ((1.5, 3, "Ätna", True), *instants)


def test_an_older_event_that_feast_pushes_late_changes_nothing(routes):
    for at, level in [(1, 1.0), (0, 0.0)]:
        routes.push("routes_events", frame(("A", 1, hour(at), hour(at), level, 1, "x", True)))
    assert ask(routes, {"origin": "A", "target": 1})[0][0] == 1.0


def test_ttl_holds_online_for_composite_keys(routes, tmp_path):
    routes.push("routes_events", frame(("A", 1, hour(0), hour(0), 1.0, 1, "x", True)))
    ReplayClock(tmp_path / "clock.json").set(hour(6.001))
    assert ask(routes, {"origin": "A", "target": 1}) == [(None,) * 4]


def levels(store, *names):
    entities = [{"gauge_id": name} for name in names]
    return store.get_online_features(["gauge_state:level"], entities).to_dict()["level"]


def test_materialize_and_materialize_incremental_fill_the_store_from_the_published_table(small):
    small.publish(gauge("a", 0, 0, 1.0), gauge("a", 1, 1, 2.0), gauge("b", 1, 1, 3.0), gauge("b", 4, 4, 4.0))
    store = small.open()
    store.materialize(hour(-1), hour(2))
    assert levels(store, "a", "b") == [2.0, 3.0]
    small.clock.set(hour(5))
    store.materialize_incremental(hour(5))
    assert levels(store, "a", "b") == [2.0, 4.0]
    store.materialize(hour(-1), hour(2))
    assert levels(store, "a", "b") == [2.0, 4.0], "materializing an older window must not go back in time"
