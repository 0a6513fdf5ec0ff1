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
