"""What each cell of `pit_join` should be: found row by row, in plain Python, for a sample of the entity rows."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks._pit_data import FEATURES, TTL_DAYS, VIEWS

_TTL = timedelta(days=TTL_DAYS)


def expected(folder: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """Return [rows, features of all views] for entity rows of a data folder."""
    found: dict[str, list[Any]] = {}
    for view in VIEWS:
        history = pl.scan_parquet(folder / f"{view}.parquet").filter(pl.col("key").is_in(rows["key"].implode()))
        versions = history.collect().partition_by("key", as_dict=True)
        winners = [
            _winner(versions.get((key,)), moment) for key, moment in rows.select("key", "event_timestamp").rows()
        ]
        for feature in FEATURES:
            found[f"{view}__{feature}"] = [None if winner is None else winner[feature] for winner in winners]
    return pl.DataFrame(found, schema=dict.fromkeys(found, pl.Float64))


def _winner(versions: pl.DataFrame | None, moment: Any) -> dict[str, Any] | None:
    best = None
    for version in () if versions is None else versions.iter_rows(named=True):
        event, created = version["event_timestamp"], version["created_timestamp"]
        if event > moment or created > moment:
            continue
        if best is None or (event, created) > (best["event_timestamp"], best["created_timestamp"]):
            best = version
    return None if best is None or moment - best["event_timestamp"] > _TTL else best
