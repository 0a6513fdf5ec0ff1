"""The batch has another shape than the one declared: columns, names, types, formats."""

import polars as pl

from benchmarks.faults.fault import Fault
from benchmarks.faults.ways import every, swap, table

SHIFTED = ("dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay")


def _shifted(rows: pl.DataFrame) -> pl.DataFrame:
    """The names of six neighbours move by one; the values stay."""
    return rows.with_columns(
        pl.col(old).alias(new) for new, old in zip(SHIFTED, (*SHIFTED[1:], SHIFTED[0]), strict=True)
    )


FAULTS = (
    Fault(
        "dropped_column", "flights", "the departure delay is not delivered", table(lambda rows: rows.drop("dep_delay"))
    ),
    Fault(
        "dropped_unread_column",
        "flights",
        "the actual departure time, which no feature reads, is not delivered",
        table(lambda rows: rows.drop("dep_time")),
    ),
    Fault(
        "renamed_column",
        "flights",
        "arr_delay arrives as arrival_delay",
        table(lambda rows: rows.rename({"arr_delay": "arrival_delay"})),
    ),
    Fault(
        "surplus_column",
        "flights",
        "a new column `cancelled`",
        every(pl.col("arr_delay").is_null().alias("cancelled")),
    ),
    Fault(
        "text_in_number",
        "flights",
        "departure delays as '12 min'",
        every(pl.format("{} min", pl.col("dep_delay")).alias("dep_delay")),
    ),
    Fault("integers_as_floats", "flights", "air time as 227.0", every(pl.col("air_time").cast(pl.Float64))),
    Fault(
        "other_date_format",
        "flights",
        "time_hour as 03/01/2013 10:00",
        every(pl.col("time_hour").dt.strftime("%m/%d/%Y %H:%M")),
    ),
    Fault(
        "no_time_zone",
        "flights",
        "time_hour in New York's wall time, without a zone",
        every(pl.col("time_hour").dt.convert_time_zone("America/New_York").dt.strftime("%Y-%m-%dT%H:%M:%S")),
    ),
    Fault("swapped_delays", "flights", "arrival and departure delay exchanged", swap("arr_delay", "dep_delay")),
    Fault("header_off_by_one", "flights", "the names of six columns shifted by one", table(_shifted)),
    Fault("reordered_columns", "flights", "the columns in another order", table(lambda rows: rows[:, ::-1])),
    Fault(
        "dropped_pressure",
        "weather",
        "the pressure is not delivered",
        table(lambda rows: rows.drop("pressure")),
    ),
    Fault("swapped_temp_dewp", "weather", "temperature and dew point exchanged", swap("temp", "dewp")),
    Fault("swapped_wind", "weather", "wind speed and gust exchanged", swap("wind_speed", "wind_gust")),
    Fault(
        "renamed_seats", "planes", "seats arrive as capacity", table(lambda rows: rows.rename({"seats": "capacity"}))
    ),
)
