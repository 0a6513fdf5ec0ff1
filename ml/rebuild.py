"""Feature rows made again from raw rows cut off at an instant, by the SQL and the raw versions that made them.

DuckDB in this process, no dbt. What the rows are compared with, and at which instants, is decided in checks/.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

import duckdb
import polars as pl

from ml.as_of import RawHistory
from ml.feature_views import FeatureView
from ml.history import CREATED, EVENT, INSTANT, frame_pieces
from ml.lake import PARTITION_KEY, Lake
from ml.months import month_before, month_of
from ml.point_in_time import Lookup, PointInTimeJoin
from ml.recipe import Recipe
from ml.source import Source

Spoil = Callable[[Source, pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Made:
    """Months of a feature table that one run made, and how."""

    months: tuple[str, ...]
    recipe: Recipe


@dataclass(frozen=True)
class Cut:
    """What raw rows are taken: those known at `moment` (None: all), events before `since` left out (None: none).

    Of the tables in `only`, rows for which its expression holds.
    """

    moment: datetime | None = None
    since: datetime | None = None
    only: Mapping[str, pl.Expr] = field(default_factory=dict)


class RawTables:
    """Pinned versions of raw tables, read once. Threads may share it."""

    def __init__(self, lake: Lake, sources: Sequence[Source], spoil: Spoil = lambda _, rows: rows) -> None:
        """Read from `lake`; `spoil` changes the rows of each table before they are used."""
        self._lake, self._spoil = lake, spoil
        self._sources = {source.table: source for source in sources}
        self._read: dict[tuple[str, int, str, str], RawHistory] = {}
        self._lock = threading.Lock()

    def of(self, made: Made) -> dict[str, RawHistory]:
        """Return, by table, the versions of raw rows that months were made from.

        Raises LookupError if a table is not declared, or a version of it is gone.
        """
        first = month_before(min(made.months), made.recipe.look_back_months)
        return {
            table: self._history(table, made.recipe.raw[table], first, max(made.months))
            for table in made.recipe.relations
        }

    def _history(self, table: str, version: int, first: str, last: str) -> RawHistory:
        """Return a version of a table, of a partitioned one the months `first` to `last`."""
        if table not in self._sources:
            raise LookupError(f"no source lands in {table!r}; ml/sources lists {sorted(self._sources)}")
        source = self._sources[table]
        key = (table, version, first, last) if source.partition is not None else (table, version, "", "")
        with self._lock:
            if key not in self._read:
                rows = self._lake.read(table, version)
                if source.partition is not None:
                    rows = rows.filter(pl.col(PARTITION_KEY).is_between(pl.lit(first), pl.lit(last)))
                self._read[key] = RawHistory(source, self._spoil(source, rows.collect()))
            return self._read[key]


class Rebuilder:
    """Makes feature rows again. Each thread has a DuckDB of its own."""

    def __init__(self, raw: RawTables, threads: int | None = None) -> None:
        """Use `raw`; `threads` are those of each query, None for DuckDB's own choice."""
        self._raw, self._threads = raw, threads
        self._local = threading.local()

    def values(self, view: FeatureView, made: Sequence[Made], asked: pl.DataFrame, at: str, cut: Cut) -> pl.DataFrame:
        """Return the features of `view` as known to each asked row at its moment, from raw rows cut as `cut` says.

        Args:
            view: The view.
            made: How its published months were made.
            asked: [rows, join keys of the view + the moment].
            at: The column with the moment.
            cut: What raw rows are taken.

        Returns:
            [rows, view__feature columns], null where nothing is known.
        """
        columns = [*view.join_keys, EVENT, CREATED, *(field.name for field in view.fields)]
        parts = [self._rows(part, columns, months, cut) for part, months in _needed(view, made, asked[at], cut)]
        if not parts:
            return _unanswered(view, asked.height)
        keys = list(view.join_keys)
        history = pl.concat(parts).join(asked.select(keys).unique(), on=keys, how="semi")
        # Ties go to the table's later row: in the order in which a table is written.
        history = history.sort(EVENT, CREATED, *history.columns)
        features = {field.name: f"{view.name}__{field.name}" for field in view.fields}
        lookup = Lookup(frame_pieces(history), {key: key for key in keys}, features, view.ttl)
        return PointInTimeJoin(asked, at).look_up(lookup)

    def raw_behind(self, view: FeatureView, made: Sequence[Made], moment: datetime) -> list[tuple[str, RawHistory]]:
        """Return the raw tables, by name, from which the rows that can answer at `moment` were made."""
        needed = _needed(view, made, pl.Series([moment]), Cut(moment))
        return [item for part, _ in needed for item in self._raw.of(part).items()]

    def raw_rows(self, made: Made, months: Sequence[str], cut: Cut) -> dict[str, pl.DataFrame]:
        """Return, by table, the raw rows that `months` of a feature table are made of, those that `cut` leaves."""
        first, found = month_before(min(months), made.recipe.look_back_months), dict[str, pl.DataFrame]()
        last = max(made.months) if cut.moment is None else min(max(made.months), month_of(cut.moment))
        for table, history in self._raw.of(made).items():
            rows = history.all() if cut.moment is None else history.known(cut.moment, cut.since)
            if PARTITION_KEY in rows.columns:
                rows = rows.filter(pl.col(PARTITION_KEY).is_between(pl.lit(first), pl.lit(last)))
            found[table] = rows.filter(cut.only[table]) if table in cut.only else rows
        return found

    def _rows(self, made: Made, columns: Sequence[str], months: Sequence[str], cut: Cut) -> pl.DataFrame:
        """Return `columns` of the feature rows of `months` that a recipe makes of the raw rows that `cut` leaves."""
        recipe, connection = made.recipe, self._connection(made.recipe)
        for number, (table, rows) in enumerate(self.raw_rows(made, months, cut).items()):
            connection.register(f"raw_{number}", rows)
            connection.execute(f"create or replace view {recipe.relations[table]} as select * from raw_{number}")
        for statement in recipe.views:
            connection.execute(statement)
        wanted = ", ".join(f'"{name}"' for name in dict.fromkeys([*columns, PARTITION_KEY]))
        frame = connection.sql(f"select {wanted} from (\n{recipe.query}\n) made").pl()
        instants = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
        frame = frame.filter(pl.col(PARTITION_KEY).is_in(list(months))).with_columns(pl.col(instants).cast(INSTANT))
        return frame.select(columns)

    def _connection(self, recipe: Recipe) -> duckdb.DuckDBPyConnection:
        connections: dict[str, duckdb.DuckDBPyConnection] = self._local.__dict__.setdefault("connections", {})
        if recipe.database not in connections:
            connection = duckdb.connect()
            connection.execute("set TimeZone = 'UTC'")
            if self._threads:
                connection.execute(f"set threads = {self._threads}")
            connection.execute(f'attach \':memory:\' as "{recipe.database}"; use "{recipe.database}"')
            connections[recipe.database] = connection
        for schema in recipe.schemas:
            connections[recipe.database].execute(f'create schema if not exists "{schema}"')
        return connections[recipe.database]


def _needed(
    view: FeatureView, made: Sequence[Made], moments: pl.Series, cut: Cut
) -> list[tuple[Made, tuple[str, ...]]]:
    """Return what made the months that hold the rows which can answer, and those months."""
    if moments.is_empty():
        return []
    oldest, newest = cast(datetime, moments.min()) - view.ttl, cast(datetime, moments.max())
    first, last = month_of(max(oldest, cut.since or oldest)), month_of(newest)
    found = [(part, tuple(month for month in part.months if first <= month <= last)) for part in made]
    return [(part, months) for part, months in found if months]


def _unanswered(view: FeatureView, rows: int) -> pl.DataFrame:
    types = {"float": pl.Float64, "int": pl.Int64, "string": pl.String, "bool": pl.Boolean}
    return pl.DataFrame(
        pl.Series(f"{view.name}__{field.name}", [None] * rows, dtype=types[field.kind]) for field in view.fields
    )
