"""Corrections made up for an audit: versions of raw rows that came too late to have been known by anybody asked."""

from datetime import datetime

import polars as pl

from ml.history import CREATED, EVENT, INSTANT
from ml.lake import PARTITION_KEY
from ml.source import Source

SHARE = 0.2  # of the rows: enough that nearly every window holds one


def with_late_corrections(
    source: Source, rows: pl.DataFrame, at: datetime, seed: int, share: float = SHARE
) -> pl.DataFrame:
    """Return the rows and, for a share of those known before `at`, one more version each that became known then.

    A correction has the key and the event of its row, and all other values of another row of its partition: values
    and nulls as the source has them, and none as it was.
    """
    known = rows.filter(pl.max_horizontal(EVENT, CREATED) < at)
    chosen = known.sample(fraction=share, shuffle=True, seed=seed)
    values = [name for name in source.schema if name not in source.key]
    taken = [pl.col(name).gather((pl.int_range(pl.len()) + 1) % pl.len()) for name in values]
    if source.partition is not None:
        taken = [values_of_another.over(PARTITION_KEY) for values_of_another in taken]
    return pl.concat([rows, chosen.with_columns(*taken, pl.lit(at, dtype=INSTANT).alias(CREATED))])
