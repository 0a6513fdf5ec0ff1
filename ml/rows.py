"""Rows as training and scoring read them: a DataFrame, or a table that is read slice by slice.

Here: what both have in common, and reading lazily. Not here: which rows belong to which part (ml/split.py) and
whether they fit in memory (ml/memory.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

SLICE_ROWS = 32_768


class Rows(Protocol):
    """What is asked of rows in memory and of rows on disk alike; a polars DataFrame has it."""

    @property
    def height(self) -> int:
        """How many rows."""
        ...

    @property
    def schema(self) -> pl.Schema:
        """Column types by name."""
        ...

    def head(self, n: int = 5) -> pl.DataFrame:
        """Return the first `n` rows."""
        ...

    def iter_slices(self, n_rows: int = 10_000) -> Iterator[pl.DataFrame]:
        """Yield the rows in slices of at most `n_rows`."""
        ...

    def __getitem__(self, key: str, /) -> Any: ...


@dataclass(frozen=True)
class StreamedRows:
    """The rows of `table` that `condition` holds for, in the table's order: `height` of them in table[first:end].

    A slice is cut first and filtered then: polars then reads no more of a file than the slice.
    """

    table: pl.LazyFrame
    condition: pl.Expr
    height: int
    first: int
    end: int

    @staticmethod
    def where(table: pl.LazyFrame, condition: pl.Expr) -> "StreamedRows":
        """Count the rows and find where they lie; reads only the columns of `condition`."""
        row, found = pl.col("__row"), table.with_row_index("__row").filter(condition)
        asked = found.select(pl.len(), row.min().alias("first"), row.max().alias("last"))
        height, first, last = asked.collect(engine="streaming").row(0)
        return StreamedRows(table, condition, height, first or 0, 0 if last is None else last + 1)

    @property
    def schema(self) -> pl.Schema:
        """Column types by name."""
        return self.table.collect_schema()

    def iter_slices(self, n_rows: int = SLICE_ROWS) -> Iterator[pl.DataFrame]:
        """Yield the rows in slices of at most `n_rows`."""
        for start in range(self.first, self.end, n_rows):
            rows = self.table.slice(start, min(n_rows, self.end - start)).filter(self.condition).collect()
            if rows.height:
                yield rows

    def head(self, n: int = 5) -> pl.DataFrame:
        """Return the first `n` rows."""
        found = self.schema.to_frame()
        for part in self.iter_slices():
            found = pl.concat([found, part.head(n - found.height)])
            if found.height >= n:
                break
        return found

    def sample(self, n: int) -> pl.DataFrame:
        """Return about `n` rows (at most; all if there are no more), evenly spaced."""
        step, seen, parts = max(-(-self.height // n), 1), 0, [self.schema.to_frame()]
        for part in self.iter_slices():
            parts.append(part.gather_every(step, (-seen) % step))
            seen += part.height
        return pl.concat(parts)

    def __getitem__(self, key: str, /) -> pl.Series:
        """Return one column of all rows."""
        return pl.concat([self.schema.to_frame()[key], *(part[key] for part in self.iter_slices())])
