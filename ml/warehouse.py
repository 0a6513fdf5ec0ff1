"""Reads what dbt built: out of a DuckDB file, or out of a folder of Spark's tables (Parquet), by the same queries.

Read-only, and never while dbt writes: DuckDB has one writer, and a build on Spark begins with an empty folder.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl

from ml.lake import PARTITION_KEY


def read_feature_table(warehouse: Path, name: str, months: Sequence[str]) -> pl.DataFrame:
    """Return the rows of features.<name> in `months`, instants as UTC microseconds, in a stable order."""
    query = f'select * from features."{name}" where {PARTITION_KEY} in (select unnest(?))'
    frame = _read(warehouse, query, list(months))
    return frame.sort("event_timestamp", "created_timestamp", *frame.columns, maintain_order=True)


def read_failing_rows(warehouse: Path, relation: str, limit: int, each: str) -> pl.DataFrame:
    """Return rows that dbt stored as failing a test: the first `limit`, of each value of column `each` if they have it.

    `relation` is the quoted name in dbt's results. Raises LookupError if dbt stored none.
    """
    try:
        columns = _read(warehouse, f"select * from {relation} limit ?", 0).columns
    except duckdb.CatalogException as error:
        raise LookupError(f"no failing rows at {relation}: {error}") from error
    window = f'partition by "{each}"' if each in columns else ""
    return _read(warehouse, f"select * from {relation} qualify row_number() over ({window}) <= ?", limit)


def _read(warehouse: Path, query: str, parameter: object) -> pl.DataFrame:
    with _opened(warehouse) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        frame = connection.sql(query, params=[parameter]).pl()
    instants = [n for n, t in frame.schema.items() if isinstance(t, pl.Datetime)]
    return frame.with_columns(pl.col(instants).cast(pl.Datetime("us", "UTC")))


@contextmanager
def _opened(warehouse: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open DuckDB's file; for a folder, a database in memory in which each of its tables is a view."""
    if not warehouse.is_dir():
        with duckdb.connect(str(warehouse), read_only=True) as connection:
            yield connection
        return
    with duckdb.connect() as connection:
        for table in sorted(warehouse.glob("*.db/*")):  # <schema>.db/<table>, as Spark lays managed tables out
            schema = table.parent.name.removesuffix(".db")
            connection.execute(f'create schema if not exists "{schema}"')
            files = f"{table}/*.parquet".replace("'", "''")
            connection.execute(f'create view "{schema}"."{table.name}" as select * from read_parquet(\'{files}\')')
        yield connection


def read_view_statement(warehouse: Path, schema: str, name: str) -> str:
    """Return the statement that made a view. Raises LookupError if there is no view of that name."""
    ours = "database_name = current_database() and schema_name = ? and view_name = ?"
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        found = connection.execute(f"select sql from duckdb_views() where {ours}", [schema, name]).fetchone()
    if found is None:
        raise LookupError(f"the warehouse {warehouse} has no view {schema}.{name}; build it with what reads it")
    return str(found[0])
