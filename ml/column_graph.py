"""Columns of several statements linked: from a feature down to raw columns, and from a raw column up to features.

Pure. Where the SQL comes from is `compiled_sql`'s part; what a feature means to models is decided elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from ml.sql_lineage import DUCKDB, Column, SqlLineage, sql_lineage


@dataclass(frozen=True)
class Touched:
    """What rests on a column: columns computed from it, tables whose rows it chooses, tables that name it.

    `values` maps each such column to the one before it on the way; `rows` maps a table to the column by which its rows
    are chosen; `named` are the tables whose SQL does not run without the column, in order, and `built_on` those that
    read them.
    """

    values: Mapping[Column, Column]
    rows: Mapping[str, Column]
    named: tuple[str, ...]
    built_on: tuple[str, ...]


class ColumnGraph:
    """The columns of source tables and of the statements that stand on them."""

    def __init__(
        self,
        tables: Mapping[str, Sequence[str]],
        statements: Mapping[str, str],
        dialects: Mapping[str, str] | None = None,
    ) -> None:
        """Take the columns of source tables, and SQL by the table that it makes, what a statement reads before it.

        `dialects` names, by table, the dialect of its statement if it is not DuckDB's. A statement that sqlglot cannot
        read is told in `failed`, with the reason, and so is all that reads it.
        """
        self.columns = {name: tuple(columns) for name, columns in tables.items()}
        self.sources = frozenset(tables)
        self.failed: dict[str, str] = {}
        self._made: dict[str, SqlLineage] = {}
        for table, sql in statements.items():
            try:
                self._made[table] = sql_lineage(sql, self.columns, (dialects or {}).get(table, DUCKDB))
                self.columns[table] = tuple(self._made[table].values)
            except ValueError as error:
                self.failed[table] = str(error)

    def add(self, table: str, made: SqlLineage) -> None:
        """Add a table that no statement makes, what it reads before it."""
        self._made[table] = made
        self.columns[table] = tuple(made.values)

    @property
    def made(self) -> tuple[str, ...]:
        """The tables whose statements could be read, what they read before them."""
        return tuple(self._made)

    def parents(self, column: Column) -> tuple[Column, ...]:
        """Return the columns that a column's value is computed from, sorted; none for a source's."""
        table, name = column
        return tuple(sorted(self._made[table].values.get(name, ()))) if table in self._made else ()

    def raw_columns(self, column: Column) -> tuple[Column, ...]:
        """Return the columns of source tables that a column's value is computed from, sorted."""
        if column[0] in self.sources:
            return (column,)
        return tuple(sorted({leaf for parent in self.parents(column) for leaf in self.raw_columns(parent)}))

    def row_columns(self, table: str) -> tuple[Column, ...]:
        """Return the columns of source tables that choose the rows of a table, on the whole way, sorted."""
        if table not in self._made:
            return ()
        direct = {leaf for column in self._made[table].rows for leaf in self.raw_columns(column)}
        return tuple(sorted(direct.union(*(self.row_columns(parent) for parent in self.reads(table)))))

    def reads(self, table: str) -> tuple[str, ...]:
        """Return the tables that a table's columns or rows are directly made from, sorted."""
        made = self._made[table]
        return tuple(sorted({c[0] for columns in (*made.values.values(), made.rows) for c in columns}))

    def touched(self, column: Column) -> Touched:
        """Return all that rests on a column. Raises LookupError naming near ones if there is no such column."""
        self.require(column)
        values, rows, named, built_on = dict[Column, Column](), dict[str, Column](), list[str](), list[str]()
        for table, made in self._made.items():
            found = {name: _first(parents, {column, *values}) for name, parents in made.values.items()}
            values |= {(table, name): parent for name, parent in found.items() if parent is not None}
            chosen = _first(made.rows, {column, *(c for c in values if c[0] != table)})
            if chosen is not None:
                rows[table] = chosen
            if column in made.rows or any(column in parents for parents in made.values.values()):
                named.append(table)
            elif set(self.reads(table)) & {*named, *built_on}:
                built_on.append(table)
        return Touched(values, rows, tuple(named), tuple(built_on))

    def require(self, column: Column) -> None:
        """Raise LookupError naming near columns if there is no such column, or why its table's are not known."""
        table, name = column
        if name in self.columns.get(table, ()):
            return
        if table in self.failed:
            raise LookupError(f"the columns of {table} are not known: {self.failed[table]}")
        near = list(dict.fromkeys(self._near(column)))[:8]
        raise LookupError(f"there is no column {table}.{name}; {self._near_told(table, near)}")

    def _near_told(self, table: str, near: Sequence[str]) -> str:
        """Return the near columns; where there is none, all of the table, and if there is no such table, all tables."""
        if near:
            return f"near are {', '.join(near)}"
        if table in self.columns:
            return f"{table} has {', '.join(self.columns[table])}"
        return f"there are the tables {', '.join(sorted(self.columns))}"

    def _near(self, column: Column) -> Iterator[str]:
        """Yield columns of nearly that name in tables of nearly that name, then those of that name anywhere."""
        table, name = column
        for found in get_close_matches(table, list(self.columns), n=2, cutoff=0.8):
            yield from (f"{found}.{near}" for near in get_close_matches(name, self.columns[found], n=4))
        yield from (f"{found}.{name}" for found, columns in self.columns.items() if name in columns)


def _first(candidates: frozenset[Column], wanted: set[Column]) -> Column | None:
    return min(candidates & wanted, default=None)
