"""The versions of a feature table in pieces that a join reads one at a time, newest events first.

Pieces never overlap in event time, so an entity's newest known event lies in the newest piece that knows one.
A table partitioned by the month of its events gives a piece a month; anything else is one piece.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import polars as pl
from deltalake import DeltaTable

EVENT = "event_timestamp"
CREATED = "created_timestamp"
INSTANT = pl.Datetime("us", "UTC")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATISTICS = 1_000  # Delta keeps an instant's statistics in milliseconds, rounded down: microseconds it may lack


class Piece(NamedTuple):
    """Versions whose events lie in [first_us, last_us] (microseconds since the epoch, UTC; None: not known).

    `rows` is their number (None: not known), `frame` has the keys, both instants and the features.
    """

    frame: pl.LazyFrame
    rows: int | None = None
    first_us: int | None = None
    last_us: int | None = None


def frame_pieces(frame: pl.DataFrame | pl.LazyFrame) -> list[Piece]:
    """Return a frame as one piece."""
    return [Piece(frame.lazy(), frame.height if isinstance(frame, pl.DataFrame) else None)]


def delta_pieces(table: DeltaTable, partition: str, columns: Mapping[str, pl.Expr]) -> list[Piece]:
    """Return a Delta table's versions, a piece a partition, or one piece if event times overlap or are not known.

    Args:
        table: The table, opened at the version to read.
        partition: Its partition column; a table without partitions is one piece.
        columns: The columns to read, by the name that they get: keys, both instants, features.
    """
    frame = pl.scan_delta(table)
    wanted = [expression.alias(name) for name, expression in columns.items()]
    extents = _extents(table, partition, columns[EVENT].meta.root_names()[0])
    if extents is None:
        return [Piece(frame.select(wanted))]
    return [
        Piece(frame.filter(pl.col(partition).is_in(names)).select(wanted), rows, first, last)
        for names, rows, first, last in _apart(extents)
    ]


class _Extent(NamedTuple):
    names: list[str]
    rows: int
    first_us: int
    last_us: int


def _extents(table: DeltaTable, partition: str, event: str) -> list[_Extent] | None:
    """Return name, rows and event times of each partition from the table's statistics, None without them."""
    if table.metadata().partition_columns != [partition]:
        return None
    files = pl.DataFrame(table.get_add_actions(flatten=True))
    columns = (f"partition.{partition}", "num_records", f"min.{event}", f"max.{event}")
    if not set(columns) <= set(files.columns) or files.select(columns).null_count().sum_horizontal().item():
        return None
    name, rows, first, last = (pl.col(column) for column in columns)
    found = files.group_by(name.alias("name")).agg(rows.sum(), first.min(), last.max())
    return [_Extent([name], rows, _us(low), _us(high) + _STATISTICS - 1) for name, rows, low, high in found.iter_rows()]


def _apart(extents: Sequence[_Extent]) -> list[_Extent]:
    """Merge extents that overlap in event time; the newest comes first."""
    merged: list[_Extent] = []
    for extent in sorted(extents, key=lambda e: e.first_us):
        if merged and extent.first_us <= merged[-1].last_us:
            last = merged.pop()
            both = max(last.last_us, extent.last_us)
            extent = _Extent([*last.names, *extent.names], last.rows + extent.rows, last.first_us, both)
        merged.append(extent)
    return merged[::-1]


def _us(moment: datetime) -> int:
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (aware - _EPOCH) // timedelta(microseconds=1)
