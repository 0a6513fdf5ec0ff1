"""The raw rows behind an answer's features: of a few spans tried, the fewest that make the same values by themselves.

They are found by making the values again, by the SQL and raw versions on record, from less and less: rows of the same
entity only, and only the newest. So what is named has been shown to suffice. Rows that were known when the feature row
became known count, never a later correction.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl

from checks.parity_comparison import differing
from ml.as_of import NOT_YET
from ml.column_graph import ColumnGraph
from ml.feature_views import FeatureView
from ml.history import CREATED, EVENT, INSTANT
from ml.rebuild import Cut, Made, Rebuilder

_AT = "__asked_at"
# How far before the feature row's event raw rows are taken, at first; None: all that the recipe reads.
_SPANS = tuple(timedelta(hours=hours) for hours in (0, 3, 24, 72, 8 * 24, 32 * 24))


@dataclass(frozen=True)
class Asked:
    """What an answer was given of a view: the values of its row [1 row, fields of the view], and its event.

    `keys` are the join keys' values, `moment` the instant at which the row became known, not later than the answer.
    """

    keys: Mapping[str, object]
    values: pl.DataFrame
    event: datetime
    moment: datetime


@dataclass(frozen=True)
class RawBehind:
    """Raw rows by table; `again` says whether the values made from them alone are the same bits, `span` how far back.

    `entity` holds the raw columns by which only rows of the same entity were taken; empty: rows of all.
    """

    rows: Mapping[str, pl.DataFrame]
    again: bool
    span: timedelta | None
    entity: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many rows there are."""
        return sum(rows.height for rows in self.rows.values())


def find_raw_behind(rebuilder: Rebuilder, view: FeatureView, made: Made, asked: Asked, graph: ColumnGraph) -> RawBehind:
    """Return the raw rows behind what an answer was given of a view.

    Args:
        rebuilder: Makes rows again.
        view: The view, with the fields that were read.
        made: How the month of the feature row was made.
        asked: The values, and when they were asked for.
        graph: The columns of the table, by which the raw columns of its join keys are found.

    Raises LookupError if raw rows of that version are gone.
    """
    for cut, span in _tries(rebuilder, view, made, asked, graph):
        if _same(rebuilder, view, made, asked, cut):
            names = [(table, name) for table, kept in cut.only.items() for name in kept.meta.root_names()]
            columns = tuple(f"{table}.{name}" for table, name in names if name != EVENT)
            return RawBehind(_shown(rebuilder.raw_rows(made, made.months, cut), asked), True, span, columns)
    return RawBehind(_shown(rebuilder.raw_rows(made, made.months, _all(asked, {})), asked), False, None, ())


def _tries(
    rebuilder: Rebuilder, view: FeatureView, made: Made, asked: Asked, graph: ColumnGraph
) -> Iterator[tuple[Cut, timedelta | None]]:
    """Yield cuts, the smallest first: of the fewest kinds of rows that suffice at all, the newest."""
    entity = _of_entity(f"features/{view.name}", asked.keys, graph)
    whole = {table: pl.col(EVENT) <= pl.lit(asked.moment, dtype=INSTANT) for table in made.recipe.raw}
    both = {table: whole[table] & entity[table] if table in entity else whole[table] for table in whole}
    # Of one entity there are few rows: whether they suffice at all is asked first. Of all there are many.
    of_one = (kind for kind in (both, entity) if entity and _same(rebuilder, view, made, asked, _all(asked, kind)))
    for only in (next(of_one, whole), {}):
        for span in _SPANS:
            yield Cut(asked.moment, asked.event - span, only), span
        yield _all(asked, only), None


def _all(asked: Asked, only: Mapping[str, pl.Expr]) -> Cut:
    return Cut(asked.moment, only=only)


def _of_entity(table: str, keys: Mapping[str, object], graph: ColumnGraph) -> dict[str, pl.Expr]:
    """Return, by raw table, which of its rows are of the entity, where each key comes from one column of it."""
    found: dict[str, pl.Expr] = {}
    for key, value in keys.items():
        for raw in {column[0] for column in graph.raw_columns((table, key))}:
            names = [name for origin, name in graph.raw_columns((table, key)) if origin == raw]
            if len(names) == 1:
                same = pl.col(names[0]) == pl.lit(value)
                found[raw] = found[raw] & same if raw in found else same
    return found


def _same(rebuilder: Rebuilder, view: FeatureView, made: Made, asked: Asked, cut: Cut) -> bool:
    row = pl.DataFrame([dict(asked.keys)]).with_columns(pl.lit(asked.moment, dtype=INSTANT).alias(_AT))
    values = rebuilder.values(view, [made], row, _AT, cut)
    return not any(differing(values[f"{view.name}__{f.name}"], asked.values[f.name], f.kind) for f in view.fields)


def _shown(tables: Mapping[str, pl.DataFrame], asked: Asked) -> dict[str, pl.DataFrame]:
    """Return rows newest first; of one that was known in part, the instants of the whole are null."""
    late = asked.moment + NOT_YET
    instants = [pl.when(pl.col(name) < late).then(pl.col(name)).alias(name) for name in (EVENT, CREATED)]
    return {
        table: rows.with_columns(instants).sort(EVENT, CREATED, descending=True, nulls_last=False)
        for table, rows in tables.items()
        if rows.height
    }
