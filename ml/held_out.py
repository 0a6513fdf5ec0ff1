"""A candidate's answers on its held-out rows, kept with its run for comparisons to come."""

from pathlib import Path
from typing import Any

import polars as pl
from numpy.typing import NDArray

from ml.rows import SLICE_ROWS, Rows
from ml.slices import slice_columns
from ml.spec import ModelSpec
from ml.task import task_of

TEST_PREDICTIONS = "test_predictions.parquet"


def held_out_predictions(spec: ModelSpec, rows: pl.DataFrame, answers: NDArray[Any]) -> pl.DataFrame:
    """Return what a later comparison needs of N held-out rows.

    Columns: row_id, prediction_time, label, the answer under the task's name (probability or value), and to
    slice by: the categorical request fields and, for each local_time field, its hour of the day as <field>_hour.
    """
    outcome = spec.outcome
    return rows.select(
        pl.col(outcome.row_id).alias("row_id"),
        pl.col(outcome.prediction_time).alias("prediction_time"),
        pl.col(outcome.label).alias("label"),
        pl.Series(task_of(spec).output, answers, dtype=pl.Float32),
        *slice_columns(spec),
    )


def write_predictions(spec: ModelSpec, rows: Rows, answers: NDArray[Any], path: Path) -> None:
    """Write `held_out_predictions` of all rows, slice by slice."""
    import pyarrow.parquet as pq

    first = held_out_predictions(spec, rows.head(0), answers[:0]).to_arrow()
    with pq.ParquetWriter(path, first.schema) as writer:
        done = 0
        for part in rows.iter_slices(SLICE_ROWS):
            found = held_out_predictions(spec, part, answers[done : done + part.height])
            writer.write_table(found.to_arrow().cast(first.schema))
            done += part.height
