import sqlite3
import time
from datetime import timedelta
from pathlib import Path

import pytest

from serving.online_features import OnlineFeatures, OnlineRow
from serving.plan import View
from tests.serving.example import AIRCRAFT, NOW, RUNWAY, example_plan, settings_at, write_online_rows

HOUR = timedelta(hours=1)


def soon() -> float:
    return time.perf_counter() + 5


@pytest.fixture
def views(tmp_path: Path) -> tuple[View, ...]:
    return example_plan(tmp_path).views


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = settings_at(tmp_path).online_store
    write_online_rows(
        path,
        AIRCRAFT,
        [
            ({"tailnum": "FRESH"}, (1, 2.5, "MIA"), NOW - HOUR),
            ({"tailnum": "EDGE"}, (1, 2.5, "MIA"), NOW - AIRCRAFT.ttl),
            ({"tailnum": "OLD"}, (1, 2.5, "MIA"), NOW - AIRCRAFT.ttl - timedelta(seconds=1)),
            ({"tailnum": "AHEAD"}, (1, 2.5, "MIA"), NOW + HOUR),
        ],
    )
    return path


def status(store: Path, view: View, *tails: str | None) -> list[str]:
    rows = OnlineFeatures(store).read(view, [{"tailnum": tail} for tail in tails], NOW, soon())
    return [row.status for row in rows]


def test_rows_come_in_the_order_asked_with_their_event_time(store: Path, views: tuple[View, ...]) -> None:
    entities = [{"tailnum": tail} for tail in ("NEVER", "FRESH", None, "FRESH")]
    rows = OnlineFeatures(store).read(views[0], entities, NOW, soon())
    fresh = OnlineRow((1, 2.5, "MIA"), round((NOW - HOUR).timestamp() * 1e6), "present")
    unknown = OnlineRow((None, None, None), None, "not_found")
    assert rows == [unknown, fresh, unknown, fresh]


def test_ttl_counts_against_the_clock_and_its_end_is_inside(store: Path, views: tuple[View, ...]) -> None:
    assert status(store, views[0], "EDGE", "OLD") == ["present", "outside_max_age"]


def test_a_row_from_after_now_is_not_known_yet(store: Path, views: tuple[View, ...]) -> None:
    assert status(store, views[0], "AHEAD") == ["not_found"]


def test_a_number_is_not_the_same_key_as_its_text(store: Path, views: tuple[View, ...]) -> None:
    write_online_rows(store, RUNWAY, [({"origin": "EWR", "runway": 4}, (17, True), NOW)])
    keys = [
        {"origin": "EWR", "runway": 4},
        {"origin": "EWR", "runway": "4"},
        {"origin": "EWR", "runway": None},
    ]
    rows = OnlineFeatures(store).read(views[1], keys, NOW, soon())
    assert [row.status for row in rows] == ["present", "not_found", "not_found"]


def test_many_entities_take_one_query_a_chunk(store: Path, views: tuple[View, ...]) -> None:
    many = [({"tailnum": f"N{n}"}, (n, None, None), NOW) for n in range(1300)]
    write_online_rows(store, AIRCRAFT, many)
    rows = OnlineFeatures(store).read(views[0], [keys for keys, _, _ in many], NOW, soon())
    assert [row.values[0] for row in rows] == list(range(1300))


def test_past_the_deadline_rows_are_not_read(store: Path, views: tuple[View, ...]) -> None:
    (row,) = OnlineFeatures(store).read(views[0], [{"tailnum": "FRESH"}], NOW, time.perf_counter() - 1)
    assert row == OnlineRow((None, None, None), None, "not_read")


def test_a_writer_at_work_does_not_hold_up_a_reader(store: Path, views: tuple[View, ...]) -> None:
    writer = sqlite3.connect(store, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM online_rows")
    assert status(store, views[0], "FRESH") == ["present"]
    writer.close()


def test_a_replaced_store_is_read_anew(store: Path, views: tuple[View, ...]) -> None:
    reader = OnlineFeatures(store)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{store}{suffix}").unlink(missing_ok=True)
    write_online_rows(store, AIRCRAFT, [({"tailnum": "NEW"}, (9, None, None), NOW)])
    (row,) = reader.read(views[0], [{"tailnum": "NEW"}], NOW, soon())
    assert row.values == (9, None, None)


def test_a_missing_or_damaged_store_is_named_with_the_remedy(tmp_path: Path, views: tuple[View, ...]) -> None:
    with pytest.raises(LookupError, match=r"no online store at .*; publish the features first"):
        OnlineFeatures(tmp_path / "none.db")
    (tmp_path / "noise.db").write_bytes(b"noise" * 1000)
    with pytest.raises(LookupError, match="is damaged"):
        OnlineFeatures(tmp_path / "noise.db").read(views[0], [{"tailnum": "FRESH"}], NOW, soon())


def test_a_row_of_other_fields_is_refused(store: Path, views: tuple[View, ...]) -> None:
    fewer = View(views[0].name, views[0].join_keys, views[0].ttl_seconds, views[0].fields[:1])
    with pytest.raises(ValueError, match=r"view 'aircraft': .*deploy the model again"):
        OnlineFeatures(store).read(fewer, [{"tailnum": "FRESH"}], NOW, soon())
