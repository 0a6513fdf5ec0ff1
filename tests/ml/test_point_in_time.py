from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ml.known_versions
import ml.order
from ml.history import INSTANT, Piece, frame_pieces
from ml.known_versions import KnownVersions
from ml.point_in_time import (
    Lookup,
    PointInTimeJoin,
    became_known,
    in_order_of_knowledge,
    state_as_of,
)
from tests.ml.pit_oracle import known_at, value_at

START = datetime(2013, 7, 1, tzinfo=UTC)
HISTORY = {
    "key": pl.String,
    "event_timestamp": pl.Datetime("us", "UTC"),
    "created_timestamp": pl.Datetime("us", "UTC"),
    "v": pl.Int64,
}


def minute(count):
    return START + timedelta(minutes=count)


def point_in_time_join(rows, versions, *, at, keys, features, ttl):
    """Entity rows with the feature values known at each one's moment."""
    return rows.hstack(PointInTimeJoin(rows, at).look_up(Lookup(frame_pieces(versions), keys, features, ttl)))


def history(*versions):
    """Versions as (key, event minute, created minute, value)."""
    rows = [(key, minute(event), minute(created), value) for key, event, created, value in versions]
    return pl.DataFrame(rows, schema=HISTORY, orient="row")


def entities(*rows):
    """Entity rows as (key, minute)."""
    return pl.DataFrame(
        [(key, minute(at)) for key, at in rows],
        schema={"key": pl.String, "at": pl.Datetime("us", "UTC")},
        orient="row",
    )


def joined(rows, versions, ttl=None):
    limit = None if ttl is None else timedelta(minutes=ttl)
    frame = point_in_time_join(rows, versions, at="at", keys={"key": "key"}, features={"v": "view__v"}, ttl=limit)
    return frame["view__v"].to_list()


versions_drawn = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.integers(0, 8),
        st.integers(-1, 6),
        st.none() | st.integers(0, 99),
    ).map(lambda row: (row[0], row[1], row[1] + row[2], row[3])),
    max_size=14,
)
rows_drawn = st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.integers(-1, 15)), max_size=10)


@given(rows_drawn, versions_drawn, st.sampled_from([None, 0, 1, 3, 7]))
def test_every_value_is_the_one_that_the_obvious_implementation_finds(rows, versions, ttl):
    table = history(*versions)
    limit = None if ttl is None else timedelta(minutes=ttl)
    expected = [value_at(table.to_dicts(), key, minute(at), limit) for key, at in rows]
    assert joined(entities(*rows), table, ttl) == expected


def pieces_of(table, cuts):
    """The table cut at event minutes, newest piece first, each with its extent."""
    edges = [-100, *sorted(cuts), 100]
    found = []
    for low, high in pairwise(edges):
        part = table.filter((pl.col("event_timestamp") >= minute(low)) & (pl.col("event_timestamp") < minute(high)))
        if part.height:
            times = part["event_timestamp"].to_physical()
            found.append(Piece(part.lazy(), part.height, times.min(), times.max()))
    return found[::-1] or [Piece(table.lazy(), 0)]


@settings(max_examples=400)
@given(
    rows_drawn,
    versions_drawn,
    st.sampled_from([None, 1, 3, 7]),
    st.sets(st.integers(0, 8), max_size=3),
    st.booleans(),
    st.sampled_from([None, 1, 300, 100_000]),
    st.sampled_from([62, 34, 31]),
)
def test_neither_pieces_nor_order_nor_budget_nor_narrow_integers_change_a_value(
    rows, versions, ttl, cuts, kept, budget, bits
):
    table = history(*versions)
    limit = None if ttl is None else timedelta(minutes=ttl)
    expected = [value_at(table.to_dicts(), key, minute(at), limit) for key, at in rows]
    # Without a stable place in the table, versions equal in both instants have no order: keep the later.
    table = table.unique(["key", "event_timestamp", "created_timestamp"], keep="last", maintain_order=True)
    pieces = pieces_of(in_order_of_knowledge(table, ["key"]) if kept else table, cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ml.known_versions, "_BITS", bits)
        patch.setattr(ml.order, "_BITS", bits)
        join = PointInTimeJoin(entities(*rows), "at", memory_budget=budget)
        found = join.look_up(Lookup(pieces, {"key": "key"}, {"v": "v"}, limit))
    assert found["v"].to_list() == expected


composite = st.tuples(st.sampled_from(["a", "ab", None]), st.sampled_from([1, 11, None]))


@given(
    st.lists(st.tuples(composite, st.integers(-1, 15)), max_size=10),
    st.lists(st.tuples(composite, st.integers(0, 8), st.integers(-1, 6), st.none() | st.integers(0, 99)), max_size=14),
    st.booleans(),
)
def test_composite_keys_of_text_and_numbers_match_as_a_whole(rows, versions, kept):
    table = [
        {"x": x, "y": y, "event_timestamp": minute(event), "created_timestamp": minute(event + late), "v": v}
        for (x, y), event, late, v in versions
    ]
    whole = [{**row, "key": None if None in (row["x"], row["y"]) else (row["x"], row["y"])} for row in table]
    expected = [value_at(whole, None if None in key else key, minute(at), None) for key, at in rows]
    schema = {"x": pl.String, "y": pl.Int64, "event_timestamp": INSTANT, "created_timestamp": INSTANT, "v": pl.Int64}
    frame = pl.DataFrame(table, schema=schema)
    if kept:
        frame = in_order_of_knowledge(frame, ["x", "y"])
    asked = pl.DataFrame(
        [(x, y, minute(at)) for (x, y), at in rows], schema={"x": pl.String, "y": pl.Int64, "at": INSTANT}, orient="row"
    )
    found = point_in_time_join(asked, frame, at="at", keys={"x": "x", "y": "y"}, features={"v": "v"}, ttl=None)
    assert found["v"].to_list() == expected


def test_a_piece_that_claims_no_order_is_sorted_and_one_in_order_is_not():
    frame = history(("b", 0, 0, 1), ("a", 3, 3, 2), ("a", 1, 5, 3), ("a", 1, 1, 4)).drop_nulls()
    wanted = pl.DataFrame({"key": ["a", "b"], "__rank": [0, 1]}, schema={"key": pl.String, "__rank": pl.UInt32})
    assert KnownVersions(frame, ["key"], wanted).rows.tolist() == [3, 1, 2, 0]
    assert KnownVersions(in_order_of_knowledge(frame, ["key"]), ["key"], wanted).rows is None


def test_progress_is_told_piece_by_piece():
    lines = []
    table = history(("a", 0, 0, 1), ("a", 5, 5, 2))
    join = PointInTimeJoin(entities(("a", 1), ("a", 6)), "at", progress=lines.append)
    join.look_up(Lookup(pieces_of(table, {3}), {"key": "key"}, {"v": "v"}))
    assert lines == ["piece 1 of 2: 1 of 2 rows have a value", "piece 2 of 2: 2 of 2 rows have a value"]


@given(versions_drawn, st.integers(-1, 15))
def test_the_state_at_an_instant_is_what_a_join_at_that_instant_finds(versions, at):
    table = history(*versions)
    state = dict(state_as_of(table, ["key"], minute(at)).select("key", "v").iter_rows())
    found = {key: value_at(table.to_dicts(), key, minute(at), None) for key in ("a", "b")}
    assert {key: state.get(key) for key in ("a", "b")} == found


@given(versions_drawn, st.integers(-1, 8), st.integers(0, 8))
def test_events_of_an_interval_come_in_the_order_in_which_they_became_known(versions, after, length):
    table = history(*versions)
    events = became_known(table, minute(after), minute(after + length)).to_dicts()
    instants = [known_at(event) for event in events]
    assert instants == sorted(instants)
    assert len(events) == sum(minute(after) < known_at(v) <= minute(after + length) for v in table.to_dicts())


def test_late_correction_does_not_rewrite_the_past():
    table = history(("a", 0, 0, 1), ("a", 0, 20, 2))
    assert joined(entities(("a", 10), ("a", 20)), table) == [1, 2]


def test_a_late_correction_of_an_old_event_does_not_hide_a_newer_event():
    table = history(("a", 0, 0, 1), ("a", 5, 5, 2), ("a", 0, 20, 3))
    assert joined(entities(("a", 30)), table) == [2]


def test_an_event_that_arrives_late_is_unknown_before_it_arrived():
    assert joined(entities(("a", 4), ("a", 5)), history(("a", 0, 5, 1))) == [None, 1]


def test_a_value_as_old_as_its_ttl_counts_and_a_microsecond_later_it_does_not():
    rows = (
        entities(("a", 10), ("a", 10))
        .with_row_index()
        .with_columns(at=pl.col("at") + pl.col("index") * timedelta(microseconds=1))
    )
    assert joined(rows.drop("index"), history(("a", 0, 0, 1)), ttl=10) == [1, None]


def test_a_correction_does_not_make_an_old_event_young():
    assert joined(entities(("a", 20)), history(("a", 0, 15, 1)), ttl=10) == [None]


def test_rows_keep_their_order_their_duplicates_and_those_without_history():
    rows = entities(("b", 9), ("a", 5), (None, 5), ("a", 5), ("a", 1))
    frame = point_in_time_join(
        rows,
        history(("a", 1, 1, 1), ("a", 5, 5, 2)),
        at="at",
        keys={"key": "key"},
        features={"v": "v"},
        ttl=None,
    )
    assert frame.drop("v").equals(rows)
    assert frame["v"].to_list() == [None, 2, None, 2, 1]


def test_entities_of_two_keys_match_only_in_both():
    rows = pl.DataFrame({"x": ["a", "a"], "y": [1, 2], "at": [minute(5), minute(5)]})
    table = pl.DataFrame({"left": ["a", "b"], "right": [1, 2], "v": [7, 8]}).with_columns(
        event_timestamp=pl.lit(minute(0)), created_timestamp=pl.lit(minute(0))
    )
    frame = point_in_time_join(rows, table, at="at", keys={"x": "left", "y": "right"}, features={"v": "v"}, ttl=None)
    assert frame["v"].to_list() == [7, None]


def test_instants_of_any_unit_and_zone_mean_the_same_moment():
    rows = entities(("a", 5)).with_columns(
        pl.col("at").dt.convert_time_zone("America/New_York").dt.cast_time_unit("ms")
    )
    naive = history(("a", 5, 5, 1)).with_columns(
        pl.col("event_timestamp").dt.replace_time_zone(None).cast(pl.Datetime("ns"))
    )
    assert joined(rows, naive) == [1]


@pytest.mark.parametrize(
    ("rows", "table", "message"),
    [
        (entities(("a", 1)).drop("key"), history(), "no column.*key"),
        (entities(("a", 1)), history().drop("created_timestamp"), "no column.*created_timestamp"),
        (entities(("a", 1)).with_columns(at=pl.lit(None, pl.Datetime("us", "UTC"))), history(), "has 1 nulls"),
        (entities(("a", 1)).with_columns(key=pl.lit(1)), history(), "join key 'key' is Int32"),
        (entities(("a", 1)).with_columns(view__v=pl.lit(1)), history(), "already have columns"),
        (entities(("a", 1)).with_columns(at=pl.lit("noon")), history(), "not an instant"),
    ],
)
def test_bad_input_is_refused_by_name(rows, table, message):
    with pytest.raises(ValueError, match=message):
        joined(rows, table)
