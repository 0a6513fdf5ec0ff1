"""Ways to spoil rows, from which most faults are made: all rows, some, those of a group; lost, repeated, shuffled."""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from benchmarks.faults.fault import Batch, Spoil

Rows = Callable[[pl.DataFrame], pl.DataFrame]


def table(change: Rows) -> Spoil:
    """Spoil by a function of the month's rows that needs no chance."""
    return lambda batch, rng: change(batch.rows)


def every(*columns: pl.Expr) -> Spoil:
    """Replace columns in all rows."""
    return lambda batch, rng: batch.rows.with_columns(*columns)


def some(share: float, *columns: pl.Expr) -> Spoil:
    """Replace columns in a share of the rows, drawn at random."""
    return lambda batch, rng: _where(batch.rows, pl.lit(drawn(batch.rows, rng, share)), columns)


def where(condition: pl.Expr, *columns: pl.Expr) -> Spoil:
    """Replace columns in the rows for which `condition` holds."""
    return lambda batch, rng: _where(batch.rows, condition, columns)


def only(condition: pl.Expr) -> Spoil:
    """Keep the rows for which `condition` holds; the others never arrive."""
    return lambda batch, rng: batch.rows.filter(condition)


def lose(share: float) -> Spoil:
    """Lose a share of the rows, drawn at random."""
    return lambda batch, rng: batch.rows.filter(~drawn(batch.rows, rng, share))


def repeat(share: float, *columns: pl.Expr) -> Spoil:
    """Deliver a share of the rows twice, the second time with columns replaced."""

    def spoil(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
        again = batch.rows.filter(drawn(batch.rows, rng, share)).with_columns(*columns)
        return pl.concat([batch.rows, again.select(batch.rows.columns)])

    return spoil


def shuffle(columns: Sequence[str], within: Sequence[str] = ()) -> Spoil:
    """Deal the values of `columns`, kept together, to other rows: of the month, or of the same group."""

    def spoil(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
        rows = batch.rows.with_columns(pl.Series("_chance", rng.random(batch.rows.height)))
        dealt = [pl.col(name).sort_by("_chance") for name in columns]
        return rows.with_columns(expr.over(*within) if within else expr for expr in dealt).drop("_chance")

    return spoil


def swap(first: str, second: str) -> Spoil:
    """Exchange two columns."""
    return every(pl.col(second).alias(first), pl.col(first).alias(second))


def then(*spoils: Spoil) -> Spoil:
    """One after the other."""

    def spoil(batch: Batch, rng: np.random.Generator) -> pl.DataFrame:
        for each in spoils:
            batch = Batch(batch.source, batch.month, each(batch, rng), batch.whole)
        return batch.rows

    return spoil


def drawn(rows: pl.DataFrame, rng: np.random.Generator, share: float) -> pl.Series:
    """Return a mask that is true for a share of the rows; for one at least."""
    mask = rng.random(rows.height) < share
    if rows.height and not mask.any():
        mask[rng.integers(rows.height)] = True
    return pl.Series("drawn", mask)


def after(text: str, column: str) -> pl.Expr:
    """Return a text column with `text` before each value."""
    return pl.concat_str(pl.lit(text), pl.col(column)).alias(column)


def most_common(column: str, rank: int = 0) -> pl.Expr:
    """Hold for the rows whose value is the most common one of a column, or the one of that rank (-1: the rarest)."""
    return pl.col(column) == pl.col(column).drop_nulls().value_counts(sort=True).struct.field(column).get(rank)


def _where(rows: pl.DataFrame, condition: pl.Expr, columns: Sequence[pl.Expr]) -> pl.DataFrame:
    names = [column.meta.output_name() for column in columns]
    return rows.with_columns(
        pl.when(condition).then(column).otherwise(pl.col(name)).alias(name)
        for name, column in zip(names, columns, strict=True)
    )
