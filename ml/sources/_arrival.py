"""When a flight's arrival became known, as a UTC instant, from local HHMM times. The root of all point-in-time truth.

Departure is `time_hour + minute` in UTC. The scheduled arrival is the first moment after departure
at which the destination's wall clock shows `sched_arr_time`; the actual arrival is that plus
`arr_delay`, which is right past midnight, over several days and across zones without guessing a date.
"""

from collections.abc import Mapping

import polars as pl

# Destinations that the airports table lacks; all are on Atlantic Standard Time the whole year.
ATLANTIC = {name: "America/Puerto_Rico" for name in ("BQN", "SJU", "STT", "PSE")}


def arrived_at(flights: pl.DataFrame, zones: Mapping[str, str]) -> pl.Series:
    """Return each flight's actual arrival (UTC, microseconds) in the order of `flights`.

    A cancelled or diverted flight (no `arr_delay`) gets its scheduled arrival: by then everybody
    knows that it has not come. Raises LookupError naming destinations without a time zone.
    """
    zones = {**zones, **ATLANTIC}
    strangers = sorted(set(flights["dest"].unique()) - set(zones))
    if strangers:
        raise LookupError(f"destinations {strangers} have no time zone; add them to the airports file or to ATLANTIC")
    if flights.is_empty():
        return flights["time_hour"].rename("event_timestamp")
    numbered = flights.select("dest", "sched_arr_time", "arr_delay", departure=departure()).with_row_index("row")
    parts = [
        part.select("row", arrival=_scheduled_arrival(zone) + _minutes(pl.col("arr_delay").fill_null(0)))
        for (zone,), part in numbered.with_columns(zone=pl.col("dest").replace_strict(dict(zones))).group_by(["zone"])
    ]
    return pl.concat(parts).sort("row")["arrival"].alias("event_timestamp")


def departure() -> pl.Expr:
    """Return the scheduled departure in UTC: `time_hour` plus `minute` minutes."""
    return pl.col("time_hour") + _minutes(pl.col("minute"))


def _scheduled_arrival(zone: object) -> pl.Expr:
    local = pl.col("departure").dt.convert_time_zone(str(zone)).dt.replace_time_zone(None)
    same_day = local.dt.truncate("1d") + _clock_time(pl.col("sched_arr_time"))
    wall = pl.when(same_day > local).then(same_day).otherwise(same_day + pl.duration(days=1))
    return _instant(wall, str(zone))


def _instant(wall: pl.Expr, zone: str) -> pl.Expr:
    """Read a wall-clock time: the earlier of two in autumn; one skipped in spring reads an hour later."""
    exact = wall.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    later = (wall + pl.duration(hours=1)).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return pl.coalesce(exact, later).dt.convert_time_zone("UTC")


def _clock_time(hhmm: pl.Expr) -> pl.Expr:
    """HHMM as a duration after midnight; 2400 is the following midnight."""
    return pl.duration(hours=hhmm // 100, minutes=hhmm % 100)


def _minutes(count: pl.Expr) -> pl.Expr:
    return pl.duration(minutes=count)
