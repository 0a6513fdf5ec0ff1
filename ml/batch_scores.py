"""Batch inference: rows of a table scored with the graph that serves, a slice in memory at a time.

Here: what the graph reads, asking it, the scores as Parquet files with their hash. Not here: which rows, versions and
graph (assets/score_inputs.py), and writing to the lake (assets/scores.py).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from ml.feature_store import historical_features
from ml.feature_views import FeatureView
from ml.fingerprint import RunningHash
from ml.lake import PARTITION_KEY
from ml.memory import slice_rows
from ml.rows import StreamedRows
from ml.scoring import feed, open_session
from ml.spec import column_of

if TYPE_CHECKING:
    import feast

DECISION, MODEL_VERSION, ONNX_SHA256 = "decision", "model_version", "onnx_sha256"

# With one thread, and blocks whose length is a multiple of 16, a row's score has the same bits wherever it stands; the
# kernels answer a remainder, or another number of threads, up to 3e-7 apart.
_BLOCK, _MULTIPLE = 4_096, 16


class Graph:
    """A model's ONNX file, asked so that a row's score depends on nothing but the row."""

    def __init__(self, onnx: Path) -> None:
        """Open the file. Raises LookupError if it is missing or damaged."""
        self.onnx = onnx
        self._session = open_session(onnx, threads=1)
        self._types = {entry.name: entry.type for entry in self._session.get_inputs()}

    def references(self, views: Sequence[FeatureView]) -> tuple[str, ...]:
        """Return the features that it reads, as view:feature."""
        known = [f"{view.name}:{field.name}" for view in views for field in view.fields]
        return tuple(reference for reference in known if column_of(reference) in self._types)

    def others(self, references: Sequence[str]) -> tuple[str, ...]:
        """Return the inputs that are none of these features: what a caller would send."""
        features = {column_of(reference) for reference in references}
        return tuple(name for name in self._types if name not in features)

    def answers(self, rows: pl.DataFrame) -> NDArray[np.float32]:
        """Return its answers [N] of N rows with training-set columns, one block a core at a time."""
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            parts = list(pool.map(self._block, rows.iter_slices(_BLOCK)))
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)

    def _block(self, rows: pl.DataFrame) -> NDArray[np.float32]:
        lacking = -rows.height % _MULTIPLE
        whole = pl.concat([rows, *[rows.tail(1)] * lacking]) if lacking else rows
        value: NDArray[np.float32] = self._session.run(None, feed(self._types, whole))[0][: rows.height, 0]
        return value


@dataclass(frozen=True)
class Version:
    """The model version that scores: its number, its file's hash, the name of its answer, its threshold if any."""

    number: str
    onnx_sha256: str
    output: str
    threshold: float | None

    def columns(self, value: NDArray[np.float32]) -> list[pl.Series]:
        """Return the answers [N] with the decision (null without a threshold) and what made them, N each."""
        count = len(value)
        decided = pl.repeat(None, count, dtype=pl.Boolean, eager=True)
        if self.threshold is not None:
            decided = pl.Series(value >= self.threshold)  # as the router compares: in float32
        return [
            pl.Series(self.output, value, dtype=pl.Float32),
            decided.alias(DECISION),
            pl.repeat(self.number, count, eager=True).alias(MODEL_VERSION),
            pl.repeat(self.onnx_sha256, count, eager=True).alias(ONNX_SHA256),
        ]


@dataclass(frozen=True)
class Questions:
    """The rows to score: `table` has row id, keys, `prediction_time` and what a caller sends; `features` are joined."""

    table: pl.LazyFrame
    asked: pl.Expr
    row_id: str
    keys: tuple[str, ...]
    prediction_time: str
    features: tuple[str, ...]

    @cached_property
    def rows(self) -> StreamedRows:
        """The rows, counted."""
        return StreamedRows.where(self.table, self.asked)

    def at_once(self, memory_mb: float) -> int:
        """Return how many rows, with their features, fit in `memory_mb`."""
        features = {column_of(name): pl.Float64() for name in self.features}
        return slice_rows(pl.Schema({**self.table.collect_schema(), **features}), memory_mb)

    def slices(self, store: feast.FeatureStore, rows: int) -> Iterator[pl.DataFrame]:
        """Yield at most `rows` rows at a time with their features, as known at each row's prediction time."""
        for part in self.rows.iter_slices(rows):
            moments = part.select(*self.keys, pl.col(self.prediction_time).alias("event_timestamp"))
            features = historical_features(store, moments, self.features)
            yield part.hstack(features.drop(moments.columns))


@dataclass(frozen=True)
class Scores:
    """Scored rows in Parquet files: how many, a hash of all, and the seconds that it took."""

    files: tuple[Path, ...]
    rows: int
    content: str
    seconds: float

    def batches(self) -> pa.RecordBatchReader:
        """Return all rows, to be read once; a file is in memory at a time."""
        first = _arrow(self.files[0])
        return pa.RecordBatchReader.from_batches(first.schema, _record_batches(self.files))


def score_rows(
    questions: Questions,
    graph: Graph,
    version: Version,
    partition: str,
    store: feast.FeatureStore,
    folder: Path,
    slice_rows: int,
    tell: Callable[[str], None],
) -> Scores:
    """Score all rows and write them to Parquet files of `folder`, `slice_rows` in memory at a time.

    The files have row id, keys, prediction time, answer, decision, model version, ONNX hash and partition. `tell` hears
    a line after each slice. Raises ValueError if rows lack what the graph reads.
    """
    started, done, files, digest = time.perf_counter(), 0, list[Path](), RunningHash()
    kept = list(dict.fromkeys([questions.row_id, *questions.keys, questions.prediction_time]))
    for part in questions.slices(store, slice_rows):
        scored = part.select(kept).hstack(version.columns(graph.answers(part)))
        scored = scored.with_columns(pl.lit(partition).alias(PARTITION_KEY))
        digest.update(scored)
        files.append(folder / f"part-{len(files):05d}.parquet")
        scored.write_parquet(files[-1])
        done += scored.height
        rate = done / (time.perf_counter() - started)
        tell(f"{done:,} of {questions.rows.height:,} rows scored, {rate:,.0f} rows/s")
    return Scores(tuple(files), done, digest.hexdigest(), time.perf_counter() - started)


def _record_batches(files: Sequence[Path]) -> Iterator[pa.RecordBatch]:
    for file in files:
        yield from _arrow(file).to_batches()


def _arrow(file: Path) -> pa.Table:
    return pl.read_parquet(file).to_arrow(compat_level=pl.CompatLevel.oldest())
