"""Names that no longer join: case, padding, prefixes, other codes, too many categories."""

import numpy as np
import polars as pl

from benchmarks.faults.fault import Batch, Fault
from benchmarks.faults.ways import every, most_common, shuffle, some, where


def _exploded(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
    """Each flight gets a carrier of its own."""
    codes = pl.Series("number", rng.permutation(batch.rows.height)).cast(pl.String)
    return batch.rows.with_columns(pl.col("carrier") + codes)


def _exchanged(column: str, first: int, second: int) -> pl.Expr:
    """Return a column with its most common values of two ranks exchanged."""
    ranked = pl.col(column).drop_nulls().value_counts(sort=True).struct.field(column)
    one, two = ranked.get(first), ranked.get(second)
    return (
        pl.when(pl.col(column) == one).then(two).when(pl.col(column) == two).then(one).otherwise(column).alias(column)
    )


FAULTS = (
    Fault("carrier_padded_some", "flights", "a space after one carrier in twenty", some(0.05, pl.col("carrier") + " ")),
    Fault(
        "carrier_renamed",
        "flights",
        "the fifth largest carrier has a new code",
        where(most_common("carrier", 4), pl.lit("ZZ").alias("carrier")),
    ),
    Fault("carriers_exchanged", "flights", "two carriers of like size exchanged", every(_exchanged("carrier", 1, 2))),
    Fault("category_explosion", "flights", "every flight has a carrier of its own", _exploded),
    Fault(
        "tail_prefix_lost_some",
        "flights",
        "a fifth of the tail numbers without their N",
        some(0.2, pl.col("tailnum").str.strip_prefix("N")),
    ),
    Fault(
        "tail_zero_as_letter",
        "flights",
        "the letter O for the digit 0 in tail numbers",
        every(pl.col("tailnum").str.replace_all("0", "O")),
    ),
    Fault(
        "tail_one_for_a_carrier",
        "flights",
        "one tail number for all flights of a carrier",
        where(most_common("carrier"), pl.lit("N00000").alias("tailnum")),
    ),
    Fault(
        "tail_shuffled_within_carrier",
        "flights",
        "tail numbers dealt to other flights of the carrier and day",
        shuffle(["tailnum"], ["carrier", "day"]),
    ),
    Fault(
        "destinations_exchanged", "flights", "two destinations of like size exchanged", every(_exchanged("dest", 1, 2))
    ),
    Fault("origin_renamed", "flights", "EWR arrives as NYC", every(pl.col("origin").replace("EWR", "NYC"))),
    Fault("origins_exchanged", "flights", "two airports of departure exchanged", every(_exchanged("origin", 0, 1))),
    Fault(
        "weather_origins_exchanged",
        "weather",
        "two airports exchanged",
        every(pl.col("origin").replace({"JFK": "LGA", "LGA": "JFK"})),
    ),
)
