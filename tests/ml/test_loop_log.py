from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from ml.clock import ReplayClock
from ml.lake import Lake
from ml.loop_log import LoopEvent, LoopLog

NOW = datetime(2013, 3, 1, tzinfo=UTC)


def _log(folder):
    clock = ReplayClock(folder / "clock.json")
    clock.set(NOW)
    return LoopLog(Lake(folder / "lake"), clock)


def test_what_happened_once_is_recorded_once_whoever_comes_second(tmp_path):
    event = LoopEvent("flight_delay", "retrain", "2013-02", "calibration was breached twice")
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: _log(tmp_path).record(event), range(8))) == 1
    rows = _log(tmp_path).rows("flight_delay")
    assert rows.select("event", "key", "reason", "at").rows() == [
        ("retrain", "2013-02", "calibration was breached twice", NOW)
    ]


def test_models_have_their_own_trail_in_order(tmp_path):
    log = _log(tmp_path)
    for model, event in (("a", "retrain"), ("b", "retrain"), ("a", "trained")):
        assert log.record(LoopEvent(model, event, "1", "so"))
    assert log.rows("a")["event"].to_list() == ["retrain", "trained"]
    assert log.rows().height == 3
