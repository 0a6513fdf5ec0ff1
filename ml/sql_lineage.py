"""Which columns a SELECT is made from, by sqlglot: those that give each column its value, and those that choose rows.

Pure: SQL and the columns of what it reads in, names out. Linking several statements is `column_graph`'s part.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

DUCKDB = "duckdb"

Column = tuple[str, str]  # table, column


@dataclass(frozen=True)
class SqlLineage:
    """What one statement is made from.

    `values` maps each column, in order, to the columns of tables that its value is computed from (none: it is
    constant, or counts rows). `rows` are the columns by which rows are filtered, joined, grouped, windowed, ordered:
    without one of them the statement does not run, and with other values other rows come out.
    """

    values: Mapping[str, frozenset[Column]]
    rows: frozenset[Column]


def sql_lineage(sql: str, tables: Mapping[str, Sequence[str]], dialect: str = DUCKDB) -> SqlLineage:
    """Return what a query, or the query of a `create view`, is made from.

    Args:
        sql: The statement.
        tables: Columns of every table that it reads, by name, such as raw/flights: the relation raw.flights.
        dialect: sqlglot's name of the statement's dialect, which is dbt's of the engine that it was compiled for.

    Raises ValueError if sqlglot cannot say: the statement does not parse, reads a table that is not among `tables`,
    or names a column that no table has.
    """
    return _lineage(sql, tuple((name, tuple(columns)) for name, columns in tables.items()), dialect)


@lru_cache(maxsize=256)  # all views of a build stand on the same staging models
def _lineage(sql: str, tables: tuple[tuple[str, tuple[str, ...]], ...], dialect: str) -> SqlLineage:
    from sqlglot import exp, parse_one
    from sqlglot.optimizer import build_scope
    from sqlglot.optimizer.qualify import qualify

    schema: dict[str, dict[str, dict[str, str]]] = {}
    for name, columns in tables:
        folder, _, table_name = name.partition("/")
        schema.setdefault(folder, {})[table_name] = dict.fromkeys(columns, "unknown")
    try:
        statement = parse_one(sql, dialect=dialect)
        query = statement.expression if isinstance(statement, exp.Create) else statement
        for table in query.find_all(exp.Table):
            table.set("catalog", None)  # the database is a file's name, and is called otherwise elsewhere
            if table.db and _name(table) not in dict(tables):
                raise ValueError(f"it reads {_name(table)}, whose columns are not known")
        scope = build_scope(qualify(query, dialect=dialect, schema=schema, identify=False))
        if scope is None:
            raise ValueError("it is no SELECT")
        values = {name: frozenset(_leaves(name, scope, dialect)) for name in scope.expression.named_selects}
        return SqlLineage(values, frozenset(_row_columns(scope, dialect)))
    except Exception as error:  # whatever it stumbles over in somebody's SQL: a lineage is no reason to fail
        raise ValueError(f"sqlglot cannot say which columns it is made from: {_first(error)}") from error


def created_table(sql: str) -> str:
    """Return the name, such as staging/trips, of what DuckDB's `create view` makes. Raises ValueError if nothing."""
    from sqlglot import exp, parse_one
    from sqlglot.errors import SqlglotError

    try:
        statement = parse_one(sql, dialect=DUCKDB)
    except SqlglotError as error:
        raise ValueError(f"no statement that sqlglot can read: {_first(error)}") from error
    if not isinstance(statement, exp.Create) or statement.this.find(exp.Table) is None:
        raise ValueError(f"it creates nothing: {sql[:60]!r}")
    return _name(statement.this.find(exp.Table))


def _leaves(name: str, scope: Any, dialect: str) -> Iterator[Column]:
    """Yield the columns of tables that a column of a scope is computed from."""
    from sqlglot import exp
    from sqlglot.lineage import to_node

    for node in to_node(name, scope, dialect, trim_selects=False).walk():
        if not node.downstream and isinstance(node.expression, exp.Table):
            yield _name(node.expression), exp.to_column(node.name).name


def _row_columns(scope: Any, dialect: str) -> Iterator[Column]:
    """Yield the columns that decide which rows come out, of all scopes; see `SqlLineage.rows`."""
    from sqlglot import exp

    for inner in scope.traverse():
        selects = inner.expression.selects if isinstance(inner.expression, exp.Select) else []
        valued = {id(c) for select in selects for c in select.find_all(exp.Column)}
        windowed = {id(c) for select in selects for w in select.find_all(exp.Window) for c in _over(w)}
        for column in inner.columns:
            if id(column) in windowed or id(column) not in valued:
                yield from _resolved(column, inner, dialect)


def _over(window: Any) -> Iterator[Any]:
    """Yield the columns that a window is parted and ordered by."""
    from sqlglot import exp

    for part in (*(window.args.get("partition_by") or ()), window.args.get("order")):
        if part is not None:
            yield from part.find_all(exp.Column)


def _resolved(column: Any, scope: Any, dialect: str) -> Iterator[Column]:
    from sqlglot import exp

    source = scope.sources.get(column.table)
    if isinstance(source, exp.Table):
        yield _name(source), column.name
    elif source is not None and any(column.name == name for name in source.expression.named_selects):
        yield from _leaves(column.name, source, dialect)


def _name(table: Any) -> str:
    return f"{table.db}/{table.name}".lower()


def _first(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
