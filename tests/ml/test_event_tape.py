import pytest

from ml.event_tape import EventTape
from ml.online_publish import packed_rows, push_until, rebuild
from ml.online_rows import open_online_rows, read
from tests.ml.small_store import GAUGES, SmallStore, hour
from tests.ml.test_online_store import HISTORY, frame_of


@pytest.fixture
def small(tmp_path):
    store = SmallStore(tmp_path)
    store.publish(*HISTORY)
    return store


def test_a_tape_pushed_in_small_steps_holds_what_intervals_pushed_one_by_one_do(small):
    taped, pushed = open_online_rows(small.home / "taped.db"), open_online_rows(small.home / "pushed.db")
    keys = [row.key for row in packed_rows(GAUGES, frame_of("a", "b"))]
    for store in (taped, pushed):
        rebuild([GAUGES], small.publications, store, hour(-1))
    tape, events = EventTape([GAUGES], small.publications, hour(-1), hour(6)), 0
    for quarter in range(24):
        moment = hour(quarter / 4)
        events += tape.push(taped, moment)
        push_until([GAUGES], small.publications, pushed, hour((quarter - 1) / 4), moment)
        assert read(taped, "gauge_state", keys) == read(pushed, "gauge_state", keys)
    assert events == len(HISTORY) - 1  # one has no key


def test_a_tape_does_not_go_back_and_holds_nothing_of_after_its_end(small):
    store = open_online_rows(small.home / "taped.db")
    rebuild([GAUGES], small.publications, store, hour(-1))
    tape = EventTape([GAUGES], small.publications, hour(-1), hour(2))
    first = tape.push(store, hour(2))
    assert 0 < first < len(HISTORY)
    assert tape.push(store, hour(9)) == 0
    with pytest.raises(ValueError, match="cannot go back"):
        tape.push(store, hour(1))
