"""The histories and entity rows of `pit_join`: one year, minute stamps so that events tie, late rows."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from ml.history import INSTANT
from ml.lake import PARTITION_KEY, Lake
from ml.point_in_time import in_order_of_knowledge

VIEWS = ("first_view", "second_view", "third_view")
FEATURES = ("a", "b", "c", "d")
TTL_DAYS = 30

_START = datetime(2013, 1, 1, tzinfo=UTC)
_MINUTES = 365 * 24 * 60


def write_data(folder: Path, rows: int, versions: int, entities: int, corrections: bool) -> None:
    """Write entity rows and, of each view, raw Parquet and the published table, under `folder`."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(entities + corrections)
    seconds = random.integers(0, _MINUTES * 60, rows)
    asked = pl.DataFrame({"key": _names(random.integers(0, entities, rows)), "event_timestamp": _instants(seconds)})
    asked.write_parquet(folder / "entities.parquet")
    lake = Lake(folder / "lake")
    for view in VIEWS:
        frame = _history(random, versions, entities, corrections)
        frame.write_parquet(folder / f"{view}.parquet")
        month = pl.col("event_timestamp").dt.strftime("%Y-%m").alias(PARTITION_KEY)
        kept = in_order_of_knowledge(frame.with_columns(month), ["key"])
        lake.replace(f"published/{view}", kept, sorted(kept[PARTITION_KEY].unique()))


def _history(random: np.random.Generator, versions: int, entities: int, corrections: bool) -> pl.DataFrame:
    """Of the versions 5% came late, up to 30 days, and half as many correct an event that was known in time."""
    key, event = random.integers(0, entities, versions), random.integers(0, _MINUTES, versions) * 60
    delay = np.where(random.random(versions) < 0.05, random.integers(60, TTL_DAYS * 86400, versions), 0)
    first = versions * 39 // 40
    if corrections:
        corrected = random.integers(0, first, versions - first)
        key[first:], event[first:] = key[corrected], event[corrected]
        delay[first:] = random.integers(60, TTL_DAYS * 86400, versions - first)
    times = {"event_timestamp": event, "created_timestamp": event + delay * corrections}
    values = {name: random.normal(size=versions).round(3) for name in FEATURES}
    frame = pl.DataFrame({"code": key, **times, **values})
    # Two versions that are equal in both instants have no order: no engine is asked for one.
    frame = frame.unique(["code", *times], keep="any", maintain_order=True)
    return frame.select(
        _names(frame["code"].to_numpy()), *[_instants(frame[t].to_numpy()).alias(t) for t in times], *FEATURES
    )


def _names(codes: np.ndarray) -> pl.Series:
    return ("e" + pl.Series("key", codes).cast(pl.String).str.zfill(7)).alias("key")


def _instants(seconds: np.ndarray) -> pl.Series:
    start = int(_START.timestamp())
    return pl.Series("event_timestamp", (seconds + start) * 1_000_000).cast(INSTANT)
