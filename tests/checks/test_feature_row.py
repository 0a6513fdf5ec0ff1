from datetime import UTC, datetime, timedelta

import polars as pl

from checks.feature_row import feature_row
from tests.checks.bus_world import BUS

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
INSTANT = pl.Datetime("us", "UTC")


def history(*rows):
    """Published rows: event and created (hours from noon), value."""
    frame = pl.DataFrame(
        [("A", NOON + timedelta(hours=e), NOON + timedelta(hours=c), late, late / 2, "2013-07") for e, c, late in rows],
        schema={
            "bus": pl.String,
            "event_timestamp": INSTANT,
            "created_timestamp": INSTANT,
            "last_late": pl.Int64,
            "mean_late": pl.Float64,
            "partition_key": pl.String,
        },
        orient="row",
    )
    return frame


def answer(event, late, status="present", mean=None):
    return {
        "time": NOON,
        "bus": "A",
        "bus_state__status": status,
        "bus_state__event_timestamp": None if event is None else NOON + timedelta(hours=event),
        "bus_state__last_late": late,
        "bus_state__mean_late": late / 2 if mean is None and late is not None else mean,
    }


def problems(found, newest=0):
    return found.problems(NOON + timedelta(hours=newest))


def test_the_row_that_was_known_then_is_found_with_every_value_the_same():
    found = feature_row(BUS, answer(-2, 6), history((-5, -5, 1), (-2, -2, 6), (1, 1, 9)))
    assert found.served
    assert found.month == "2013-07"
    assert problems(found) == ()
    assert [cell["same"] for cell in found.cells()] == [True, True]


def test_a_late_correction_does_not_change_what_a_trace_shows():
    rows = history((-2, -2, 6), (-2, 3, 46))
    found = feature_row(BUS, answer(-2, 6), rows)
    assert found.published["last_late"].to_list() == [6]
    assert problems(found) == ()
    later = feature_row(BUS, {**answer(-2, 46), "time": NOON + timedelta(hours=4)}, rows)
    assert later.published["last_late"].to_list() == [46]


def test_one_bit_that_differs_is_named_with_both_values():
    found = feature_row(BUS, answer(-2, 6, mean=3.0000000000000004), history((-2, -2, 6)))
    (line,) = problems(found)
    assert line.startswith("bus_state of bus=A: mean_late was 3.0000000000000004")
    assert "published is 3.0 " in line


def test_an_older_row_than_the_published_one_is_named():
    (line,) = problems(feature_row(BUS, answer(-5, 1), history((-5, -5, 1), (-2, -2, 6))))
    assert "row of 2013-07-01 07:00:00 UTC was served, published at that moment is 2013-07-01 10:00:00" in line


def test_an_event_that_was_pushed_and_is_not_published_yet_is_told_as_such():
    (line,) = problems(feature_row(BUS, answer(-1, 7), history((-5, -5, 1))), newest=-5)
    assert "not published yet" in line


def test_what_was_not_found_though_it_is_published_is_named():
    (line,) = problems(feature_row(BUS, answer(None, None, "not_found"), history((-2, -2, 6))))
    assert "nothing was served" in line
    assert problems(feature_row(BUS, answer(None, None, "not_found"), history())) == ()


def test_of_an_expired_row_only_its_event_is_compared():
    found = feature_row(BUS, answer(-200, None, "outside_max_age"), history((-200, -200, 6)))
    assert problems(found) == ()
    assert "older than the view's ttl" in found.why
    assert [cell["same"] for cell in found.cells()] == [None, None]
