"""Reads what dbt built out of DuckDB. Read-only, and never while dbt writes: DuckDB has one writer."""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import polars as pl

from ml.lake import PARTITION_KEY


def read_feature_table(warehouse: Path, name: str, months: Sequence[str]) -> pl.DataFrame:
    """Return the rows of features.<name> in `months`, instants as UTC microseconds, in a stable order."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        query = f'select * from features."{name}" where {PARTITION_KEY} in (select unnest(?))'
        frame = connection.sql(query, params=[list(months)]).pl()
    instants = [n for n, t in frame.schema.items() if isinstance(t, pl.Datetime)]
    frame = frame.with_columns(pl.col(instants).cast(pl.Datetime("us", "UTC")))
    return frame.sort("event_timestamp", "created_timestamp", *frame.columns, maintain_order=True)


def read_view_statement(warehouse: Path, schema: str, name: str) -> str:
    """Return the statement that made a view. Raises LookupError if there is no view of that name."""
    ours = "database_name = current_database() and schema_name = ? and view_name = ?"
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        found = connection.execute(f"select sql from duckdb_views() where {ours}", [schema, name]).fetchone()
    if found is None:
        raise LookupError(f"the warehouse {warehouse} has no view {schema}.{name}; build it with what reads it")
    return str(found[0])
