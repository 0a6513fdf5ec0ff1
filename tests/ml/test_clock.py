from datetime import UTC, datetime, timedelta, timezone

import pytest

from ml.clock import RealClock, ReplayClock, audit_order, open_clock


def test_real_clock_is_utc_and_moves(tmp_path):
    clock = open_clock(tmp_path / "clock.json")
    assert isinstance(clock, RealClock)
    first = clock.now()
    assert first.tzinfo == UTC
    assert clock.now() >= first


def test_every_process_sees_the_replayed_instant_and_its_moves(tmp_path):
    path = tmp_path / "state" / "clock.json"
    writer, october = ReplayClock(path), datetime(2013, 10, 1, tzinfo=UTC)
    writer.set(october)
    reader = open_clock(path)
    assert reader.now() == october
    writer.set(october - timedelta(days=1))
    assert reader.now() == october - timedelta(days=1)


def test_replayed_instants_are_kept_in_utc(tmp_path):
    clock = ReplayClock(tmp_path / "clock.json")
    clock.set(datetime(2013, 10, 1, 8, tzinfo=timezone(timedelta(hours=-4))))
    assert clock.now() == datetime(2013, 10, 1, 12, tzinfo=UTC)


def test_naive_instants_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no time zone"):
        ReplayClock(tmp_path / "clock.json").set(datetime(2013, 10, 1))  # noqa: DTZ001


def test_a_damaged_clock_file_names_itself_and_the_remedy(tmp_path):
    path = tmp_path / "clock.json"
    path.write_text("{")
    with pytest.raises(LookupError, match=r"clock\.json.*delete the file"):
        open_clock(path).now()


def test_audit_order_grows():
    assert audit_order() < audit_order()
