"""Numbers of flights that are wrong: units, signs, scales, constants, outliers, sentinels, labels in features."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from benchmarks.faults.fault import Batch, Fault, Spoil
from benchmarks.faults.ways import every, most_common, shuffle, some, then, where

DELAYS = ("dep_delay", "arr_delay")
KILOMETRES = 1.609344
WHOLE = pl.Int64


def _delays(change: str, *arguments: object) -> list[pl.Expr]:
    return [getattr(pl.col(name), change)(*arguments) for name in DELAYS]


def _hhmm_as_minutes(name: str) -> pl.Expr:
    return pl.col(name) // 100 * 60 + pl.col(name) % 100


def _clock(scheduled: str, delay: str, name: str) -> pl.Expr:
    """The HHMM that a delay makes of a scheduled HHMM, for flights that have one; midnight is 2400."""
    minutes = (_hhmm_as_minutes(scheduled) + pl.col(delay)) % 1440
    hhmm = pl.when(minutes == 0).then(2400).otherwise(minutes // 60 * 100 + minutes % 60)
    return pl.when(pl.col(delay).is_not_null()).then(hhmm).otherwise(pl.col(name)).alias(name)


TIMES_BY_DELAY = (_clock("sched_dep_time", "dep_delay", "dep_time"), _clock("sched_arr_time", "arr_delay", "arr_time"))
LONGER = [(pl.col(name) * 4) // 3 for name in DELAYS]


def _of_another(column: str, values: Sequence[str]) -> Spoil:
    """Each group gets the values of the next one, in order and as often as needed."""

    def spoil(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
        groups = batch.rows.select(column).unique().sort(column).to_series().to_list()
        parts = []
        for group, other in zip(groups, groups[1:] + groups[:1], strict=True):
            rows, donor = (batch.rows.filter(pl.col(column) == name) for name in (group, other))
            chosen = np.arange(rows.height) % donor.height
            parts.append(rows.with_columns(donor[chosen].select(values)))
        return pl.concat(parts)

    return spoil


def _few(column: pl.Expr) -> Spoil:
    def spoil(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
        hit = pl.int_range(pl.len()).is_in(rng.choice(batch.rows.height, 3, replace=False).tolist())
        return batch.rows.with_columns(pl.when(hit).then(column).otherwise(pl.col(column.meta.output_name())))

    return spoil


UNITS = (
    Fault("delays_in_seconds", "flights", "both delays in seconds", every(*_delays("__mul__", 60))),
    Fault(
        "delays_in_seconds_one_carrier",
        "flights",
        "both delays in seconds for the largest carrier",
        where(most_common("carrier"), *_delays("__mul__", 60)),
    ),
    Fault(
        "distance_in_kilometres",
        "flights",
        "distance in kilometres",
        every((pl.col("distance") * KILOMETRES).round().cast(WHOLE)),
    ),
)

DISTORTED = (
    Fault("sign_flip", "flights", "arrival delays with the sign turned", every(-pl.col("arr_delay"))),
    Fault(
        "constant_median",
        "flights",
        "every departure delay is the month's median",
        every(
            pl.when(pl.col("dep_delay").is_not_null()).then(pl.col("dep_delay").median().cast(WHOLE)).alias("dep_delay")
        ),
    ),
    Fault("clipped_below", "flights", "no arrival delay below 0", every(pl.col("arr_delay").clip(0, None))),
    Fault("clipped_above", "flights", "no delay above an hour", every(*_delays("clip", None, 60))),
    Fault(
        "rounded",
        "flights",
        "arrival delays rounded to 15 minutes",
        every((pl.col("arr_delay") / 15).round().cast(WHOLE) * 15),
    ),
    Fault(
        "eight_bits",
        "flights",
        "arrival delays wrapped into a signed byte",
        every((pl.col("arr_delay") + 128) % 256 - 128),
    ),
    Fault(
        "outliers",
        "flights",
        "a delay in two hundred is a thousand times too long",
        some(0.005, pl.col("arr_delay") * 1000),
    ),
    Fault(
        "plausible_outliers",
        "flights",
        "a delay in a hundred is a day too long",
        some(0.01, pl.col("arr_delay") + 1440),
    ),
)

NULLS = (
    Fault(
        "nulls_some", "flights", "5 % of the arrival delays missing", some(0.05, pl.lit(None, WHOLE).alias("arr_delay"))
    ),
    Fault(
        "null_destinations",
        "flights",
        "1 % of the destinations missing",
        some(0.01, pl.lit(None, pl.String).alias("dest")),
    ),
    Fault(
        "null_distances",
        "flights",
        "a tenth of the distances missing",
        some(0.1, pl.lit(None, WHOLE).alias("distance")),
    ),
    Fault(
        "nulls_one_carrier",
        "flights",
        "no arrival delays for the fourth largest carrier",
        where(most_common("carrier", 3), pl.lit(None, WHOLE).alias("arr_delay")),
    ),
    Fault("nulls_as_zero", "flights", "cancelled flights arrive on time: 0 for null", every(*_delays("fill_null", 0))),
    Fault(
        "nulls_as_mean",
        "flights",
        "cancelled flights have the mean delay",
        every(*(pl.col(n).fill_null(pl.col(n).mean().cast(WHOLE)) for n in DELAYS)),
    ),
    Fault("sentinel_minus_999", "flights", "-999 for null delays", every(*_delays("fill_null", -999))),
    Fault("null_as_empty", "flights", "an empty field for null tail numbers", every(pl.col("tailnum").fill_null(""))),
)

MIXED_UP = (
    Fault(
        "delays_of_another_carrier",
        "flights",
        "each carrier has the delays of the next",
        _of_another("carrier", DELAYS),
    ),
    Fault("shuffled", "flights", "arrival delays dealt to other flights of the month", shuffle(["arr_delay"])),
    Fault(
        "shuffled_within_carrier",
        "flights",
        "both delays dealt to other flights of the carrier and day",
        shuffle(DELAYS, ["carrier", "day"]),
    ),
    Fault(
        "label_in_feature",
        "flights",
        "the departure delay is the arrival delay",
        every(pl.col("arr_delay").alias("dep_delay")),
    ),
    Fault(
        "label_in_distance",
        "flights",
        "late flights have a mile more in their distance",
        where(pl.col("arr_delay") >= 30, pl.col("distance") + 1),
    ),
    Fault(
        "few_rows",
        "flights",
        "three arrivals three minutes later, the times agreeing",
        then(_few(pl.col("arr_delay") + 3), every(*TIMES_BY_DELAY)),
        uncatchable="three rows of thousands, by an amount that is as likely as the true one",
    ),
    Fault(
        "one_in_a_hundred",
        "flights",
        "1 % of the flights two minutes later, the times agreeing",
        then(some(0.01, pl.col("arr_delay") + 2), every(*TIMES_BY_DELAY)),
        uncatchable="the rows agree in themselves, and no count or share moves by more than it does from day to day",
    ),
    Fault(
        "shuffled_agreeing",
        "flights",
        "both delays dealt to other flights of the carrier, origin and day, the times agreeing",
        then(shuffle(DELAYS, ["carrier", "origin", "day"]), every(*TIMES_BY_DELAY)),
        uncatchable="each row agrees in itself, each carrier, airport and day has its own delays; only whose is wrong",
    ),
    Fault(
        "scaled_agreeing",
        "flights",
        "both delays a third longer, the times agreeing",
        then(every(*LONGER), every(*TIMES_BY_DELAY)),
    ),
    Fault(
        "offset_agreeing",
        "flights",
        "every arrival ten minutes later, the time agreeing",
        then(every(pl.col("arr_delay") + 10), every(*TIMES_BY_DELAY)),
        missed="the rows agree in themselves, and a month's mean delay may move by as much; only a model of how long a "
        "flight takes from gate to gate would tell",
    ),
)

FAULTS = UNITS + DISTORTED + NULLS + MIXED_UP
