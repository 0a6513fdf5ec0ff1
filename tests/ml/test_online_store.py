import threading

import pytest
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from ml.online_publish import packed_rows, push_until, rebuild
from ml.online_rows import open_online_rows, read
from tests.ml.small_store import GAUGES, SCHEMA, SmallStore, gauge, hour

LEVEL = "gauge_state:level"


@pytest.fixture
def small(tmp_path, online_address):
    return SmallStore(tmp_path, online_address)


def online(store, *gauges, features=(LEVEL,)):
    return store.get_online_features(list(features), [{"gauge_id": name} for name in gauges]).to_dict()


def write(store, gauge_id, event, created, level):
    key = EntityKey(join_keys=["gauge_id"], entity_values=[Value(string_val=gauge_id)])
    values = {
        "level": Value(double_val=level),
        "river": Value(string_val="Ätna"),
        "alarm": Value(bool_val=True),
    }
    row = (key, values, hour(event), None if created is None else hour(created))
    view = store.get_feature_view("gauge_state")
    store._get_provider().online_write_batch(store.config, view, [row], progress=None)


def test_what_feast_writes_feast_reads_with_null_where_nothing_was_written(small):
    store = small.open()
    write(store, "a", 0, None, 1.5)
    references = [f"gauge_state:{name}" for name in ("level", "readings", "river", "alarm")]
    assert online(store, "a", "b", features=references) == {
        "gauge_id": ["a", "b"],
        "level": [1.5, None],
        "readings": [None, None],
        "river": ["Ätna", None],
        "alarm": [True, None],
    }


def test_a_late_older_event_never_overwrites_a_newer_one(small):
    store = small.open()
    for event, created, level in [(2, 2, 2.0), (1, 1, 1.0), (1, 5, 1.5)]:
        write(store, "a", event, created, level)
    assert online(store, "a")["level"] == [2.0]


def test_a_correction_of_the_newest_event_overwrites_it_and_an_older_version_of_it_does_not(small):
    store = small.open()
    for event, created, level in [(2, 2, 2.0), (2, 4, 4.0), (2, 3, 3.0)]:
        write(store, "a", event, created, level)
    assert online(store, "a")["level"] == [4.0]


def test_a_value_older_than_its_ttl_by_the_replayed_clock_is_missing(small):
    store = small.open()
    write(store, "a", 0, None, 1.0)
    small.clock.set(hour(6))
    assert online(store, "a")["level"] == [1.0]
    small.clock.set(hour(6.001))
    assert online(store, "a")["level"] == [None]


def test_a_view_that_is_gone_leaves_no_rows(small):
    write(small.open(), "a", 0, None, 1.0)
    small.open([])
    assert open_online_rows(small.online).summary("gauge_state") == (0, None)


HISTORY = (
    gauge("a", 0, 0, 1.0),
    gauge("b", 1, 1, 5.0),
    gauge("a", 0, 3, 2.0),
    gauge("a", 2, 4, 3.0),
    gauge(None, 0, 0, 9.0),
)


@pytest.mark.parametrize(("as_of", "level"), [(0, 1.0), (2.9, 1.0), (3, 2.0), (3.9, 2.0), (4, 3.0)])
def test_a_rebuild_holds_what_was_known_at_its_instant(small, as_of, level):
    small.publish(*HISTORY)
    rows = open_online_rows(small.online)
    rebuild([GAUGES], small.publications, rows, hour(9))
    written = rebuild([GAUGES], small.publications, rows, hour(as_of))
    assert written == {"gauge_state": rows.summary("gauge_state").rows}
    assert online(small.open(), "a")["level"] == [level]


def test_pushing_events_step_by_step_ends_where_a_rebuild_does(small):
    small.publish(*HISTORY)
    pushed, rebuilt = open_online_rows(small.online), open_online_rows(small.home / "rebuilt.db")
    keys = [row.key for row in packed_rows(GAUGES, frame_of("a", "b"))]
    rebuild([GAUGES], small.publications, pushed, hour(-1))
    for step in range(6):
        push_until([GAUGES], small.publications, pushed, hour(step - 1), hour(step))
        rebuild([GAUGES], small.publications, rebuilt, hour(step))
        assert read(pushed, "gauge_state", keys) == read(rebuilt, "gauge_state", keys)


def test_pushing_an_interval_twice_changes_nothing_and_pushing_backwards_is_refused(small):
    small.publish(*HISTORY)
    rows = open_online_rows(small.online)
    keys = [row.key for row in packed_rows(GAUGES, frame_of("a", "b"))]
    assert push_until([GAUGES], small.publications, rows, hour(-1), hour(3)) == {"gauge_state": 3}
    before = read(rows, "gauge_state", keys)
    assert push_until([GAUGES], small.publications, rows, hour(-1), hour(3)) == {"gauge_state": 0}
    assert read(rows, "gauge_state", keys) == before
    with pytest.raises(ValueError, match="rebuild"):
        push_until([GAUGES], small.publications, rows, hour(3), hour(2))


def test_readers_in_other_threads_see_a_whole_batch_or_nothing(small):
    rows = open_online_rows(small.online)
    frames = {level: [*packed_rows(GAUGES, frame_of(*"abcdefgh", level=level))] for level in (1.0, 2.0)}
    keys = [row.key for row in frames[1.0]]
    rows.replace("gauge_state", frames[1.0])
    torn = []

    def watch():
        for _ in range(300):
            torn.append(len(set(values_of(read(rows, "gauge_state", keys)))))

    reader = threading.Thread(target=watch)
    reader.start()
    for _ in range(60):
        rows.replace("gauge_state", frames[2.0])
        rows.replace("gauge_state", frames[1.0])
    reader.join()
    assert set(torn) == {1}


def values_of(rows):
    from ml.packed import unpack

    return [unpack(GAUGES.fields, row).values for row in rows]


def frame_of(*gauges, level=1.0):
    import polars as pl

    return pl.DataFrame([gauge(name, 0, 0, level) for name in gauges], schema=SCHEMA, orient="row")
