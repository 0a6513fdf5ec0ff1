"""Moments that are wrong: zones, summer time, days, months, years, the clock's halves, the order of rows."""

import numpy as np
import polars as pl

from benchmarks.faults.fault import Batch, Fault, Spoil
from benchmarks.faults.ways import every, most_common, some, then, where

LOCAL = "America/New_York"
PARTS = ("year", "month", "day", "hour")
SECOND_HALF = pl.col("day") > 15


def shifted(hours: int = 0, days: int = 0) -> pl.Expr:
    """Return time_hour moved."""
    return pl.col("time_hour") + pl.duration(hours=hours, days=days)


def redated(name: str = "time_hour") -> list[pl.Expr]:
    """Return year, month, day and hour as time_hour says, in the airport's wall time."""
    wall = pl.col(name).dt.convert_time_zone(LOCAL)
    return [getattr(wall.dt, part)().cast(pl.Int64).alias(part) for part in PARTS]


def _dates_moved(days: int) -> Spoil:
    """All that says when moves by whole days; what falls out of the month is left out of the file's month."""
    return then(every(shifted(days=days)), every(*redated()))


def _rotated(days: int) -> Spoil:
    """Each day's rows carry the date of a later one; the last days' rows that of the first."""

    def spoil(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
        length = batch.rows["day"].max()
        moved = (pl.col("day") - 1 + days) % length + 1
        instant = pl.col("time_hour") + pl.duration(days=moved - pl.col("day"))
        return batch.rows.with_columns(instant, moved.alias("day"))

    return spoil


def _day_and_month_exchanged() -> Spoil:
    return where(pl.col("day") <= 12, pl.col("day").alias("month"), pl.col("month").alias("day"))


FLIGHTS = (
    Fault("zone_shifted", "flights", "time_hour five hours late", every(shifted(hours=5))),
    Fault(
        "summer_time_from_the_16th",
        "flights",
        "time_hour an hour early in the second half",
        where(SECOND_HALF, shifted(hours=-1)),
    ),
    Fault(
        "zone_shifted_one_airport",
        "flights",
        "time_hour three hours late at one airport",
        where(most_common("origin", 1), shifted(hours=3)),
    ),
    Fault("day_later", "flights", "everything dated a day later", _dates_moved(1)),
    Fault("weekdays_shifted", "flights", "each day carries the date of the next one", _rotated(1)),
    Fault("future_rows", "flights", "time_hour 400 days late in 1 % of the rows", some(0.01, shifted(days=400))),
    Fault(
        "rows_of_1970",
        "flights",
        "time_hour is 1970 in 1 % of the rows",
        some(0.01, pl.lit(0).cast(pl.Datetime("us", "UTC")).alias("time_hour")),
    ),
    Fault("month_off_by_one", "flights", "the month counted from 0", every(pl.col("month") - 1)),
    Fault("day_off_by_one", "flights", "the day counted from 0", every(pl.col("day") - 1)),
    Fault(
        "day_and_month_exchanged", "flights", "day and month exchanged where both could be", _day_and_month_exchanged()
    ),
    Fault(
        "afternoons_as_mornings",
        "flights",
        "13:00 to 23:59 became 1:00 to 11:59 in scheduled time and time_hour",
        where(pl.col("hour") > 12, pl.col("hour") - 12, pl.col("sched_dep_time") - 1200, shifted(hours=-12)),
    ),
    Fault(
        "rows_shuffled",
        "flights",
        "the rows in any order",
        lambda batch, rng: batch.rows[rng.permutation(batch.rows.height)],
    ),
)

WEATHER = (
    Fault("weather_zone_shifted", "weather", "time_hour five hours late", every(shifted(hours=5))),
    Fault(
        "weather_an_hour_early",
        "weather",
        "time_hour an hour early in the second half",
        where(SECOND_HALF, shifted(hours=-1)),
    ),
    Fault(
        "weather_reversed",
        "weather",
        "the month runs backwards: moments reversed, values not",
        every(pl.col("time_hour").reverse().over("origin")),
    ),
    Fault(
        "weather_forecast",
        "weather",
        "an hour's observation is the one of six hours later",
        every(
            *(pl.col(n).shift(-6).over("origin") for n in ("temp", "dewp", "humid", "precip", "visib", "wind_speed"))
        ),
    ),
    Fault(
        "weather_future_rows", "weather", "time_hour ten years late in 1 % of the rows", some(0.01, shifted(days=3650))
    ),
)

FAULTS = FLIGHTS + WEATHER
