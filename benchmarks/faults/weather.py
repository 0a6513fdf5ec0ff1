"""Observations that are wrong: units, sensors that stick or drift, values that are clipped, dealt or invented."""

import numpy as np
import polars as pl

from benchmarks.faults.fault import Batch, Fault
from benchmarks.faults.ways import every, most_common, shuffle, some, then, where

CELSIUS = [((pl.col(name) - 32) / 1.8).round(2) for name in ("temp", "dewp")]
MPH_IN_KNOTS, HPA_IN_INHG, MM_IN_INCH = 0.868976, 33.8639, 25.4
MEASURED = ("temp", "dewp", "humid", "wind_speed", "pressure", "visib")
FLOAT = pl.Float64


def _stuck(first: int, last: int) -> pl.Expr:
    return pl.col("day").is_between(first, last)


def _held(column: str) -> pl.Expr:
    """The value that the station showed when it stuck, at the beginning of day 8."""
    return pl.col(column).filter(pl.col("day") >= 8).first().over("origin").alias(column)


def _drifting(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
    """Temperatures rise by 15 degrees from the month's beginning to its end."""
    share = (pl.col("day") - 1) / pl.col("day").max()
    return batch.rows.with_columns((pl.col("temp") + 15 * share).round(2))


def _repeated_block(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
    """All measurements repeat a day's: hour h of every day is hour h of the fifth."""
    hours = batch.rows.filter(pl.col("day") == 5).unique(["origin", "hour"], keep="first", maintain_order=True)
    kept = batch.rows.drop(MEASURED).join(
        hours.select("origin", "hour", *MEASURED), on=["origin", "hour"], how="left", maintain_order="left"
    )
    return kept.select(batch.rows.columns)


FAULTS = (
    Fault("celsius", "weather", "temperature and dew point in Celsius", every(*CELSIUS)),
    Fault(
        "celsius_one_airport",
        "weather",
        "temperature and dew point in Celsius at one airport",
        where(most_common("origin", 1), *CELSIUS),
    ),
    Fault(
        "knots",
        "weather",
        "wind and gusts in knots",
        every(pl.col("wind_speed") * MPH_IN_KNOTS, pl.col("wind_gust") * MPH_IN_KNOTS),
    ),
    Fault(
        "inches_of_mercury_some",
        "weather",
        "pressure in inches of mercury in a tenth of the hours",
        some(0.1, pl.col("pressure") / HPA_IN_INHG),
    ),
    Fault("millimetres", "weather", "precipitation in millimetres", every(pl.col("precip") * MM_IN_INCH)),
    Fault("wind_turned", "weather", "wind direction is where it blows to", every((pl.col("wind_dir") + 180) % 360)),
    Fault(
        "sensor_stuck",
        "weather",
        "all measurements at one airport stand still for six days",
        where(most_common("origin") & _stuck(8, 13), *map(_held, MEASURED)),
    ),
    Fault("day_repeated", "weather", "every day repeats the measurements of day 5", _repeated_block),
    Fault("sensor_drifting", "weather", "temperature rises to 15 degrees too much over the month", _drifting),
    Fault(
        "sensor_offset_small",
        "weather",
        "temperature 3 degrees too high at one airport",
        where(most_common("origin", 2), pl.col("temp") + 3),
    ),
    Fault("temp_sign_flip", "weather", "temperature with the sign turned", every(-pl.col("temp"))),
    Fault(
        "all_shuffled",
        "weather",
        "all measurements, kept together, dealt to other hours of the airport",
        shuffle(MEASURED, ["origin"]),
    ),
    Fault(
        "pressure_noise",
        "weather",
        "pressure moves by up to 20 millibars from hour to hour",
        lambda batch, rng: batch.rows.with_columns(
            pl.col("pressure") + pl.Series(rng.uniform(-20, 20, batch.rows.height)).round(1)
        ),
    ),
    Fault("wind_gusts_below_wind", "weather", "gusts at half their speed", every(pl.col("wind_gust") / 2)),
    Fault("wind_clipped", "weather", "no wind above 10", every(pl.col("wind_speed").clip(None, 10))),
    Fault("dry", "weather", "no precipitation at all", every(pl.col("precip") * 0)),
    Fault("pressure_sentinel", "weather", "-9999 for missing pressure", every(pl.col("pressure").fill_null(-9999))),
    Fault(
        "missing_carried_forward",
        "weather",
        "half of the measurements lost and the last value carried on",
        then(
            some(0.5, *(pl.lit(None, FLOAT).alias(n) for n in MEASURED)),
            every(*(pl.col(n).forward_fill().over("origin") for n in MEASURED)),
        ),
    ),
)
