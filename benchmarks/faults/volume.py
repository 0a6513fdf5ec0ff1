"""Rows that are too few, too many, or not of this month: losses, repetitions, stale copies."""

import numpy as np
import polars as pl

from benchmarks.faults.fault import Batch, Fault, Spoil
from benchmarks.faults.times import redated
from benchmarks.faults.ways import drawn, lose, most_common, only, repeat, table


def _stale(*columns: pl.Expr) -> Spoil:
    """Last month's rows in place of this month's, with columns replaced; those that fit no date are left out."""

    def spoil(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
        return batch.before().with_columns(*columns)

    return spoil


def _labelled(batch: Batch, rows: pl.DataFrame) -> pl.DataFrame:
    """Call rows of another month rows of this one, day by day; nothing else changes."""
    year, month = map(int, batch.month.split("-"))
    return rows.with_columns(pl.lit(year, pl.Int64).alias("year"), pl.lit(month, pl.Int64).alias("month"))


def _redated(batch: Batch, rows: pl.DataFrame) -> pl.DataFrame:
    """Date rows of the month before by as many days later as it is long, so that day d stays day d."""
    days = rows.select(pl.col("day").max()).item()
    moved = rows.with_columns(pl.col("time_hour") + pl.duration(days=days)).with_columns(redated())
    return moved.filter(batch.source.partition == batch.month) if batch.source.partition is not None else moved


def _stale_labelled(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
    return _labelled(batch, batch.before())


def _stale_redated(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
    return _redated(batch, batch.before())


def _mixed_in(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
    other = batch.before()
    return pl.concat([batch.rows, _labelled(batch, other.filter(drawn(other, rng, 0.1)))])


def _stale_half(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
    fresh = batch.rows.filter(pl.col("day") <= 15)
    return pl.concat([fresh, _redated(batch, batch.before()).filter(pl.col("day") > 15)])


def _week_repeated(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
    """Days 8 to 14 stand in for days 15 to 21."""
    week = batch.rows.filter(pl.col("day").is_between(8, 14))
    copy = week.with_columns(pl.col("day") + 7, pl.col("time_hour") + pl.duration(days=7))
    return pl.concat([batch.rows.filter(~pl.col("day").is_between(15, 21)), copy])


def _day_doubled(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
    """Day 11 is delivered again in place of day 12."""
    copy = batch.rows.filter(pl.col("day") == 11).with_columns(
        pl.col("day") + 1, pl.col("time_hour") + pl.duration(days=1)
    )
    return pl.concat([batch.rows.filter(pl.col("day") != 12), copy])


def _tenfold(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
    copies = [batch.rows.with_columns(pl.col("flight") + 10_000 * copy) for copy in range(10)]
    return pl.concat(copies)


WEEKEND = pl.col("time_hour").dt.weekday() >= 6

LOST = (
    Fault("first_half", "flights", "the first half of the month", only(pl.col("day") <= 15)),
    Fault("day_missing", "flights", "day 17 is missing", only(pl.col("day") != 17)),
    Fault("weekends_missing", "flights", "no weekend", only(~WEEKEND)),
    Fault("tenth_missing", "flights", "a tenth of the rows lost, at random", lose(0.1)),
    Fault(
        "thinned",
        "flights",
        "1 % of the rows lost, at random",
        lose(0.01),
        uncatchable="the count is within what months differ by, and nothing says which flights there should have been",
    ),
    Fault("header_only", "flights", "a header and no rows", table(lambda rows: rows.clear())),
    Fault("carrier_missing", "flights", "the second largest carrier is missing", only(~most_common("carrier", 1))),
    Fault(
        "small_carrier_missing",
        "flights",
        "the smallest carrier is missing",
        only(~most_common("carrier", -1)),
        missed="one row in a thousand; destinations with as many come and go in good months, and only a list of the "
        "carriers that must be there would tell the two apart",
    ),
    Fault("airport_missing", "flights", "one of the airports of departure is missing", only(~most_common("origin", 2))),
    Fault("cancelled_missing", "flights", "cancelled flights left out", only(pl.col("dep_delay").is_not_null())),
    Fault(
        "late_missing",
        "flights",
        "flights that came more than an hour late left out",
        only((pl.col("arr_delay") <= 60).fill_null(True)),
    ),
)

REPEATED = (
    Fault("exact_duplicates", "flights", "5 % of the rows twice", repeat(0.05)),
    Fault(
        "same_flight_other_key",
        "flights",
        "a tenth of the flights again under a number higher by 5000",
        repeat(0.1, pl.col("flight") + 5000),
    ),
    Fault("tenfold", "flights", "every flight ten times under other numbers", _tenfold),
    Fault("day_doubled", "flights", "day 11 again in place of day 12", _day_doubled),
    Fault("week_repeated", "flights", "the second week again in place of the third", _week_repeated),
)

STALE = (
    Fault("stale_as_it_was", "flights", "last month's file again", _stale()),
    Fault("stale_labelled", "flights", "last month's rows called this month's; time_hour as it was", _stale_labelled),
    Fault("stale_redated", "flights", "last month's rows with all dates moved to this month", _stale_redated),
    Fault("stale_half", "flights", "the second half of the month is last month's, redated", _stale_half),
    Fault("other_month_mixed_in", "flights", "a tenth of last month's rows among them, called this month's", _mixed_in),
)

WEATHER = (
    Fault("weather_stale_redated", "weather", "last month's hours with all dates moved to this month", _stale_redated),
    Fault("weather_airport_missing", "weather", "one airport is missing", only(~most_common("origin"))),
    Fault("weather_days_missing", "weather", "days 10 to 14 are missing", only(~pl.col("day").is_between(10, 14))),
    Fault(
        "weather_duplicates",
        "weather",
        "a tenth of the hours a second time, 10 degrees warmer",
        repeat(0.1, pl.col("temp") + 10),
    ),
)

FAULTS = LOST + REPEATED + STALE + WEATHER
