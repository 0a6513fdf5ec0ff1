"""Which partitions of a Delta table can hold rows of a time interval, by the table's own statistics. Reads no rows."""

from datetime import datetime, timedelta

import polars as pl

from ml.lake import PARTITION_KEY, Lake

_ROUNDED = timedelta(milliseconds=1)  # Delta keeps an instant's statistics in milliseconds, rounded down


def partitions_between(
    lake: Lake, table: str, version: int, column: str, start: datetime, end: datetime
) -> dict[str, list[str]]:
    """Return the data files of each partition with rows of `column` in [start, end), or that has no statistics of it.

    Files never change: the same ones, the same rows.
    """
    added = pl.DataFrame(lake.open(table, version).get_add_actions(flatten=True))
    first, last = f"min.{column}", f"max.{column}"
    inside = pl.lit(True)
    if {first, last} <= set(added.columns):
        low, high = (_instant(added.schema[name], name) for name in (first, last))
        inside = ((low < end) & (high + _ROUNDED > start)).fill_null(True)
    names = added.filter(inside).group_by(pl.col(f"partition.{PARTITION_KEY}").alias("name")).agg("path")
    return {str(name): sorted(paths) for name, paths in sorted(names.iter_rows())}


def _instant(dtype: pl.DataType, name: str) -> pl.Expr:
    naive = isinstance(dtype, pl.Datetime) and dtype.time_zone is None
    return pl.col(name).dt.replace_time_zone("UTC") if naive else pl.col(name)
