import socket
import sqlite3
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ml.online_rows import OnlineStoreError, open_online_rows
from serving.log_frames import NEVER
from serving.online_features import STATUSES, OnlineFeatures
from serving.plan import View
from tests.redis_server import RedisServer
from tests.serving.example import AIRCRAFT, NOW, RUNWAY, example_plan, write_online_rows

HOUR = timedelta(hours=1)


def soon() -> float:
    return time.perf_counter() + 5


@pytest.fixture
def views(tmp_path: Path) -> tuple[View, ...]:
    return example_plan(tmp_path).views


@pytest.fixture
def store(online_address: str) -> str:
    write_online_rows(
        online_address,
        AIRCRAFT,
        [
            ({"tailnum": "FRESH"}, (1, 2.5, "MIA"), NOW - HOUR),
            ({"tailnum": "EDGE"}, (1, 2.5, "MIA"), NOW - AIRCRAFT.ttl),
            ({"tailnum": "OLD"}, (1, 2.5, "MIA"), NOW - AIRCRAFT.ttl - timedelta(seconds=1)),
            ({"tailnum": "AHEAD"}, (1, 2.5, "MIA"), NOW + HOUR),
        ],
    )
    return online_address


def status(store: str, view: View, *tails: str | None) -> list[str]:
    rows = OnlineFeatures(store, [view]).read({"tailnum": tails}, NOW, soon())[view.name]
    return list(rows.status)


def microseconds(moment) -> int:  # type: ignore[no-untyped-def]
    return round(moment.timestamp() * 1e6)


def test_rows_come_in_the_order_asked_with_their_event_time_and_the_reason_of_a_null(
    store: str, views: tuple[View, ...]
) -> None:
    tails = ["NEVER", "FRESH", None, "OLD", "FRESH"]
    rows = OnlineFeatures(store, views[:1]).read({"tailnum": tails}, NOW, soon())["aircraft"]
    assert rows.status == ["not_found", "present", "not_found", "outside_max_age", "present"]
    assert [list(column) for column in rows.values] == [
        [None, 1, None, None, 1],
        [None, 2.5, None, None, 2.5],
        [None, "MIA", None, None, "MIA"],
    ]
    fresh, old = microseconds(NOW - HOUR), microseconds(NOW - AIRCRAFT.ttl - timedelta(seconds=1))
    assert list(rows.event_us) == [None, fresh, None, old, fresh]


def test_all_views_of_a_batch_are_read_at_once(store: str, views: tuple[View, ...]) -> None:
    write_online_rows(store, RUNWAY, [({"origin": "EWR", "runway": n}, (n, n > 3), NOW) for n in range(5)])
    keys = {"tailnum": ["FRESH"] * 5, "runway": [4, 3, 9, None, 0], "origin": ["EWR"] * 5}
    rows = OnlineFeatures(store, views).read(keys, NOW, soon())
    assert list(rows["aircraft"].values[2]) == ["MIA"] * 5
    assert [list(column) for column in rows["runway"].values] == [
        [4, 3, None, None, 0],
        [True, False, None, None, False],
    ]


def test_a_view_nobody_ever_wrote_says_so(store: str, views: tuple[View, ...]) -> None:
    keys = {"tailnum": ["FRESH"], "origin": ["EWR"], "runway": [4]}
    rows = OnlineFeatures(store, views).read(keys, NOW, soon())
    assert (rows["aircraft"].status, rows["runway"].status) == (["present"], ["never_written"])


def test_ttl_counts_against_the_clock_and_its_end_is_inside(store: str, views: tuple[View, ...]) -> None:
    assert status(store, views[0], "EDGE", "OLD") == ["present", "outside_max_age"]


def test_a_row_from_after_now_is_not_known_yet(store: str, views: tuple[View, ...]) -> None:
    assert status(store, views[0], "AHEAD") == ["not_found"]


def test_a_number_is_not_the_same_key_as_its_text(store: str, views: tuple[View, ...]) -> None:
    write_online_rows(store, RUNWAY, [({"origin": "EWR", "runway": 4}, (17, True), NOW)])
    keys = {"origin": ["EWR"] * 3, "runway": [4, "4", None]}
    rows = OnlineFeatures(store, views[1:]).read(keys, NOW, soon())["runway"]
    assert rows.status == ["present", "not_found", "not_found"]


def test_thousands_of_entities_are_read_whole_and_in_order(store: str, views: tuple[View, ...]) -> None:
    many = [({"tailnum": f"N{n}"}, (n, None, None), NOW) for n in range(5000)]
    write_online_rows(store, AIRCRAFT, many)
    tails = [keys["tailnum"] for keys, _, _ in many]
    rows = OnlineFeatures(store, views[:1]).read({"tailnum": tails}, NOW, soon())["aircraft"]
    assert list(rows.values[0]) == list(range(5000))
    assert set(rows.values[1]) == {None}


def test_kept_rows_answer_again_until_they_are_too_old_and_age_meanwhile(
    store: str, views: tuple[View, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [100.0]
    monkeypatch.setattr("serving.online_features.time.perf_counter", lambda: seconds[0])
    features = OnlineFeatures(store, views[:1], cache_seconds=1.0)

    def read(*tails: str, now: datetime = NOW) -> list[tuple[object, str]]:
        rows = features.read({"tailnum": tails}, now, seconds[0] + 60)["aircraft"]
        return list(zip(rows.values[1], rows.status, strict=True))

    assert read("FRESH", "LATER") == [(2.5, "present"), (None, "not_found")]
    news = [({"tailnum": tail}, (1, 7.5, "MIA"), NOW) for tail in ("FRESH", "LATER", "OTHER")]
    write_online_rows(store, AIRCRAFT, news)
    assert read("FRESH", "LATER", "OTHER") == [(2.5, "present"), (None, "not_found"), (7.5, "present")]
    assert read("FRESH", now=NOW + AIRCRAFT.ttl) == [(None, "outside_max_age")]
    seconds[0] += 1.0
    assert read("FRESH", "LATER") == [(7.5, "present")] * 2


def test_arrays_hold_what_lists_hold(store: str, views: tuple[View, ...]) -> None:
    write_online_rows(store, RUNWAY, [({"origin": "EWR", "runway": n}, (n, n > 3), NOW) for n in range(5)])
    write_online_rows(store, AIRCRAFT, [({"tailnum": "NULLS"}, (None, None, None), NOW)])
    tails = ["NEVER", "FRESH", None, "OLD", "NULLS", "AHEAD"]
    features = OnlineFeatures(store, views)
    for rows in (6, 60):  # few rows are read in another way than many
        keys = {
            "tailnum": [tails[n % 6] for n in range(rows)],
            "origin": ["EWR" if n % 7 else None for n in range(rows)],
            "runway": [n % 9 for n in range(rows)],
        }
        lists, arrays = features.read(keys, NOW, soon()), features.arrays(keys, NOW, soon())
        for name in ("aircraft", "runway"):
            assert [STATUSES[code] for code in arrays[name].status] == list(lists[name].status)
            assert [None if e == NEVER else e for e in arrays[name].event_us] == list(lists[name].event_us)
            for ours, theirs in zip(arrays[name].values, lists[name].values, strict=True):
                assert [None if v != v else v for v in ours] == list(theirs)


def test_past_the_deadline_rows_are_not_read(store: str, views: tuple[View, ...]) -> None:
    rows = OnlineFeatures(store, views[:1]).read({"tailnum": ["FRESH"]}, NOW, time.perf_counter() - 1)["aircraft"]
    assert rows.status == ["not_read"]
    assert rows.values == [[None], [None], [None]]


def test_a_store_that_does_not_answer_is_given_up_at_the_deadline(views: tuple[View, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        features = OnlineFeatures(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", views[:1])
        started = time.perf_counter()
        rows = features.read({"tailnum": ["FRESH"]}, NOW, started + 0.2)["aircraft"]
        assert rows.status == ["not_read"]
        assert time.perf_counter() - started < 2


def test_a_redis_that_was_killed_is_named_and_read_again_when_it_is_back(
    redis_server: RedisServer, views: tuple[View, ...]
) -> None:
    features = OnlineFeatures(redis_server.address, views[:1])
    fresh = [({"tailnum": "FRESH"}, (1, 2.5, "MIA"), NOW)]
    write_online_rows(redis_server.address, AIRCRAFT, fresh)
    assert features.read({"tailnum": ["FRESH"]}, NOW, soon())["aircraft"].status == ["present"]
    redis_server.kill()
    for _ in range(2):
        with pytest.raises(OnlineStoreError, match=r"redis://127.*cannot be reached.*start Redis there"):
            features.read({"tailnum": ["FRESH"]}, NOW, soon())
    with pytest.raises(OnlineStoreError, match="cannot be reached"):
        write_online_rows(redis_server.address, AIRCRAFT, fresh)
    redis_server.start()
    assert features.read({"tailnum": ["FRESH"]}, NOW, soon())["aircraft"].status == ["never_written"]
    write_online_rows(redis_server.address, AIRCRAFT, fresh)
    assert features.read({"tailnum": ["FRESH"]}, NOW, soon())["aircraft"].status == ["present"]


def test_a_redis_restarted_between_two_reads_costs_no_failed_read(
    redis_server: RedisServer, views: tuple[View, ...]
) -> None:
    features = OnlineFeatures(redis_server.address, views[:1])
    features.require()
    redis_server.kill()
    redis_server.start()
    assert features.read({"tailnum": ["FRESH"]}, NOW, soon())["aircraft"].status == ["never_written"]


def test_a_password_stays_out_of_messages(views: tuple[View, ...]) -> None:
    with pytest.raises(OnlineStoreError) as caught:
        OnlineFeatures("redis://user:secret@127.0.0.1:1/0", views).require()
    assert "secret" not in str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.db"
    write_online_rows(str(path), AIRCRAFT, [({"tailnum": "FRESH"}, (1, 2.5, "MIA"), NOW - HOUR)])
    return path


def test_a_writer_at_work_does_not_hold_up_a_reader(file: Path, views: tuple[View, ...]) -> None:
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM packed_rows")
    assert status(str(file), views[0], "FRESH") == ["present"]
    writer.close()


def test_a_replaced_store_is_read_anew(file: Path, views: tuple[View, ...]) -> None:
    reader = OnlineFeatures(str(file), views[:1])
    assert reader.read({"tailnum": ["FRESH"]}, NOW, soon())["aircraft"].values[0] == (1,)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{file}{suffix}").unlink(missing_ok=True)
    write_online_rows(str(file), AIRCRAFT, [({"tailnum": "NEW"}, (9, None, None), NOW)])
    assert reader.read({"tailnum": ["NEW"]}, NOW, soon())["aircraft"].values[0] == (9,)


def test_a_missing_or_damaged_store_is_named_with_the_remedy(tmp_path: Path, views: tuple[View, ...]) -> None:
    with pytest.raises(LookupError, match=r"no online store at .*; publish the features first"):
        OnlineFeatures(str(tmp_path / "none.db"), views).require()
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "noise.db").write_bytes(b"noise" * 1000)
    with pytest.raises(LookupError, match=r"noise\.db is damaged.*publish the features again"):
        status(str(tmp_path / "noise.db"), views[0], "FRESH")
    with pytest.raises(LookupError, match=r"noise\.db is damaged.*publish the features again"):
        write_online_rows(str(tmp_path / "noise.db"), AIRCRAFT, [])


def test_an_address_of_no_store_is_refused() -> None:
    with pytest.raises(ValueError, match="neither redis://host:port/db nor the path"):
        open_online_rows("http://127.0.0.1")


def test_a_row_of_other_fields_is_refused(store: str, views: tuple[View, ...]) -> None:
    fewer = View(views[0].name, views[0].join_keys, views[0].ttl_seconds, views[0].fields[:1])
    with pytest.raises(ValueError, match=r"view 'aircraft': .*deploy the model again"):
        OnlineFeatures(store, [fewer]).read({"tailnum": ["FRESH"]}, NOW, soon())
