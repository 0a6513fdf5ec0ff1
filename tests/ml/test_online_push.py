from dataclasses import replace
from datetime import datetime, timedelta
from threading import Thread

import pytest

from ml.online_push import push
from ml.online_rows import OnlineRow, OnlineStoreError, open_online_rows, read
from ml.packed import entity_key, pack, unpack
from tests.ml.small_store import GAUGES, hour

NOW = hour(10)


def event(gauge_id="a", at=1, created=None, **changes):
    row = {
        "gauge_id": gauge_id,
        "event_timestamp": hour(at),
        "created_timestamp": hour(at if created is None else created),
    }
    return {**row, "level": float(at), "readings": at, "river": "Inn", "alarm": False, **changes}


def level(store, gauge_id="a"):
    (row,) = read(store, "gauge_state", [entity_key({"gauge_id": gauge_id})])
    return None if row is None else unpack(GAUGES.fields, row).values[0]


@pytest.fixture
def store(online_address):
    return open_online_rows(online_address)


def test_good_events_are_applied_and_bad_ones_refused_each_with_its_reason(store):
    lacking = event()
    del lacking["river"]
    bad = [
        (event(gauge_id=None), "join key 'gauge_id' is null"),
        (event(gauge_id=7), "column 'gauge_id' is 7"),
        (event(level="high"), "column 'level' is 'high'"),
        (event(readings=1.5), "column 'readings' is 1.5"),
        (event(readings=True), "column 'readings' is True"),
        (event(readings=2**63), "field 'readings' is"),
        (event(alarm=1), "column 'alarm' is 1"),
        (event(river="\ud800"), "surrogates not allowed"),
        (event(gauge_id="\ud800"), "surrogates not allowed"),
        (event(event_timestamp=datetime(2013, 7, 1)), "has no time zone"),  # noqa: DTZ001
        (event(event_timestamp="2013-07-01"), "not an instant"),
        (event(created_timestamp=NOW + timedelta(microseconds=1)), "lies after the clock's"),
        (event(colour="red"), r"unknown ['colour']"),
        (lacking, r"lacks columns ['river']"),
    ]
    events = [event("a", 1), *(row for row, _ in bad), event("b", 2, level=None)]
    pushed = push(GAUGES, events, store, NOW)
    assert (pushed.received, pushed.applied, pushed.unchanged) == (len(bad) + 2, 2, 0)
    assert [refused.place for refused in pushed.refused] == list(range(1, len(bad) + 1))
    for refused, (row, reason) in zip(pushed.refused, bad, strict=True):
        assert reason in refused.reason
        assert refused.event is row
    assert (level(store, "a"), level(store, "b")) == (1.0, None)


def test_a_late_older_event_and_a_repeated_one_change_nothing_and_are_counted(store):
    events = [event(at=2), event(at=1), event(at=1, created=5), event(at=2)]
    pushed = push(GAUGES, events, store, NOW)
    assert (pushed.applied, pushed.unchanged, level(store)) == (1, 3, 2.0)
    corrected = push(GAUGES, [event(at=2, created=4, level=9.0), event(at=2, created=3, level=8.0)], store, NOW)
    assert (corrected.applied, corrected.unchanged, level(store)) == (1, 1, 9.0)
    assert push(GAUGES, [event(at=2, created=4, level=7.0)], store, NOW).applied == 1  # as offline: the later row
    assert level(store) == 7.0


def test_instants_count_to_the_microsecond(store):
    later = hour(1) + timedelta(microseconds=1)
    for instant, value in [(later, 2.0), (hour(1), 1.0)]:
        push(GAUGES, [event(event_timestamp=instant, created_timestamp=instant, level=value)], store, NOW)
    assert level(store) == 2.0


def test_the_newest_event_stays_whatever_order_concurrent_writers_come_in(online_address):
    def write(order):
        for at in order:
            own.upsert("gauge_state", [OnlineRow(key, pack(GAUGES.fields, [float(at), at, "Inn", None], at, at))])

    key, own = entity_key({"gauge_id": "a"}), open_online_rows(online_address)
    orders = [range(200), range(199, -1, -1), range(0, 200, 3), [199, *range(100)]]
    writers = [Thread(target=write, args=(order,)) for order in orders]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert level(own) == 199.0


def test_a_view_that_is_not_online_takes_no_events(store):
    with pytest.raises(ValueError, match="'gauge_state' is not online"):
        push(replace(GAUGES, online=False), [event()], store, NOW)


def test_when_the_store_is_down_nothing_counts_as_applied(redis_server):
    store = open_online_rows(redis_server.address)
    redis_server.kill()
    with pytest.raises(OnlineStoreError, match="start Redis there or set HEADWATER_ONLINE_STORE"):
        push(GAUGES, [event()], store, NOW)
    redis_server.start()
    assert push(GAUGES, [event()], store, NOW).applied == 1
