import math
import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from checks.parity import check_parity
from checks.parity_comparison import differing, shown
from checks.parity_sample import draw_entities, draw_moments
from tests.ml.small_store import DAY, GAUGES, SCHEMA, SmallStore, gauge, hour

TICK = timedelta(microseconds=1)
LATE = [
    gauge("a", 0, 0, 1.0),
    gauge("a", 0, 2, 2.5),  # a correction
    gauge("a", 4, 4, 3.0),
    gauge("b", 0, 0, None),
    gauge("c", 3, 3, 8.0),
    gauge("c", 1, 5, 7.0),  # arrives after a newer event
    gauge("d", 2, 2, 1.0),
    gauge("d", 2, 3, 0.0),
    gauge("d", 2, 3, -0.0),  # equal in both instants
    gauge("e", 8, 0, 4.0),  # known only at its event
    ("f", hour(0), hour(0), math.nan, 5, "", True, "2013-07"),
    (None, hour(0), hour(0), 9.0, 9, "Inn", True, "2013-07"),
]
EDGES = [hour(6), hour(6) + TICK, hour(10), hour(10) + TICK]
MOMENTS = sorted({*(hour(half / 2) for half in range(-1, 30)), *EDGES})
ENTITIES = pl.DataFrame({"gauge_id": ["a", "b", "c", "d", "e", "f", "nobody", None, "a"]})


def frame(rows=LATE):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@pytest.fixture
def feast(tmp_path):
    store = SmallStore(tmp_path)
    store.publish(*LATE)
    return store.open()


def check(store, address, rows=LATE, view=GAUGES, moments=MOMENTS, lead=None, entities=ENTITIES):
    return check_parity([view], {view.name: frame(rows).lazy()}, store, address, moments, entities, lead)


@pytest.mark.parametrize("lead", [None, timedelta(0), timedelta(hours=3)])
def test_late_events_corrections_ties_and_ttl_edges_are_served_as_they_are_trained_on(feast, online_address, lead):
    outcome = check(feast, online_address, lead=lead)
    assert outcome.passed, outcome.summary
    counts = outcome.evidence["views"]["gauge_state"]
    assert outcome.evidence["cells"] == len(MOMENTS) * len(ENTITIES) * len(GAUGES.fields)
    assert (outcome.evidence["mismatches"], outcome.evidence["entities"]) == (0, len(MOMENTS) * len(ENTITIES))
    assert min(counts["present"], counts["outside_max_age"], counts["not_found"]) > 10
    assert outcome.table[0]["present"] == counts["present"]


def test_a_thousand_chance_versions_agree_at_every_moment(tmp_path, online_address):
    random = np.random.default_rng(3)
    names, events, delays = (random.integers(0, high, 1000) for high in (40, 20, 5))
    rows = [
        gauge(f"g{name}", int(event), int(event + delay) - 1, float(value))
        for name, event, delay, value in zip(names, events, delays, random.normal(size=1000), strict=True)
    ]
    store = SmallStore(tmp_path)
    store.publish(*rows)
    histories = {"gauge_state": frame(rows).lazy()}
    entities = draw_entities([GAUGES], histories, 600, seed=1)
    outcome = check_parity([GAUGES], histories, store.open(), online_address, MOMENTS, entities)
    assert outcome.passed, outcome.summary


def test_one_bit_of_one_float_is_found_and_named_with_both_values(feast, online_address):
    planted = [gauge("a", 0, 2, math.nextafter(2.5, 3)) if row == LATE[1] else row for row in LATE]
    planted[1] = (*planted[1][:4], *LATE[1][4:])
    outcome = check(feast, online_address, planted)
    assert not outcome.passed
    first = outcome.evidence["first"]
    assert (first["view"], first["column"], first["entity"]) == ("gauge_state", "level", "gauge_id='a'")
    assert first["moment"] == hour(2).isoformat()
    assert first["online"] == "2.5000000000000004 (0x4004000000000001)"
    assert first["offline"] == "2.5 (0x4004000000000000)"
    assert outcome.evidence["mismatches"] == 2 * 4  # entity a stands twice; at 2:00, 2:30, 3:00, 3:30
    assert all(text in outcome.summary for text in ("gauge_state.level", first["online"], first["offline"], "'a'"))
    assert outcome.table[0] == first


def test_an_older_value_is_found(feast, online_address):
    outcome = check(feast, online_address, [row for row in LATE if row != LATE[2]])
    first = outcome.evidence["first"]
    assert (first["moment"], first["column"]) == (hour(4).isoformat(), "level")
    assert (first["online"].split()[0], first["offline"].split()[0]) == ("2.5", "3.0")


def test_an_expired_row_that_is_served_is_found(feast, online_address):
    outcome = check(feast, online_address, view=replace(GAUGES, ttl=GAUGES.ttl + TICK))
    first = outcome.evidence["first"]
    assert (first["moment"], first["offline"], first["online status"]) == (
        (hour(6) + TICK).isoformat(),
        "null",
        "present",
    )


def test_a_store_without_rows_does_not_pass_for_one_that_agrees(feast, online_address):
    outcome = check(feast, online_address, [])
    assert not outcome.passed
    assert outcome.evidence["first"]["online status"] == "never_written"


def test_nothing_compared_is_no_parity(feast, online_address):
    assert not check(feast, online_address, moments=[]).passed
    assert not check(feast, online_address, moments=MOMENTS[:1], entities=ENTITIES.clear()).passed


def test_floats_differ_by_their_bits_and_null_is_null_only():
    (other_nan,) = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))
    online = [0.0, math.nan, other_nan, None, None, 0.0, 1.5]
    offline = pl.Series("level", [-0.0, math.nan, math.nan, None, 0.0, None, 1.5])
    assert differing(online, offline, "float") == [0, 2, 4, 5]
    assert shown(other_nan) != shown(math.nan)


@pytest.mark.parametrize(
    ("kind", "online", "offline", "found"),
    [
        ("int", [2**62 + 1, 2, None], [2**62, 2, 0], [0, 2]),
        ("string", ["", "b ", None], [None, "b", None], [0, 1]),
        ("bool", [True, False, None], [True, None, False], [1, 2]),
    ],
)
def test_every_other_kind_differs_exactly(kind, online, offline, found):
    assert differing(online, pl.Series("x", offline), kind) == found


def test_a_column_of_another_type_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'gauge_state__level' is Float64, not int"):
        differing([1], pl.Series("gauge_state__level", [1.0]), "int")


def test_entities_are_known_ones_a_few_unknown_and_null_and_the_same_for_a_seed():
    history = frame().with_columns(dest=pl.int_range(pl.len(), dtype=pl.Int64) % 5).lazy()
    legs = replace(
        GAUGES, name="legs", entities=("g", "d"), join_keys=("gauge_id", "dest"), join_key_kinds=("string", "int")
    )
    views, histories = [GAUGES, legs], {"gauge_state": history, "legs": history}
    rows = draw_entities(views, histories, 4000, seed=5)
    assert rows.equals(draw_entities(views, histories, 4000, seed=5))
    assert not rows.equals(draw_entities(views, histories, 4000, seed=6))
    pairs = history.select("gauge_id", "dest").drop_nulls().collect().rows()
    assert set(pairs) <= set(rows.select("gauge_id", "dest").rows())
    assert rows.select("gauge_id", "dest").is_duplicated().any()
    for name, known in (("gauge_id", {"a", "b", "c", "d", "e", "f"}), ("dest", set(range(5)))):
        counts = rows[name].is_in(known).sum()
        assert 0 < rows[name].null_count() < 100
        assert 20 < rows.height - counts - rows[name].null_count() < 200


def test_moments_are_spread_over_the_times_they_are_drawn_from():
    times = pl.Series("prediction_time", [DAY + timedelta(hours=h) for h in range(300)], pl.Datetime("us", "UTC"))
    moments = draw_moments(times.shuffle(seed=1), 3, seed=2)
    assert [math.floor((moment - DAY) / timedelta(hours=100)) for moment in moments] == [0, 1, 2]
    assert draw_moments(times[:1], 3, seed=2) == [datetime(2013, 7, 1, tzinfo=UTC)]
    with pytest.raises(ValueError, match="'prediction_time' has no instant"):
        draw_moments(times[:0], 3, seed=2)
