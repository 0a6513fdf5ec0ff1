"""Makes the rows that answer while features are not read, from a version's training set. Platform side."""

from typing import Any

import polars as pl

from ml.spec import ModelSpec, column_of

ROWS = 16  # each row that is asked while features are not read is scored so many times


def build_defaults(spec: ModelSpec, rows: pl.DataFrame) -> dict[str, list[Any]]:
    """Return values by feature column of some rows of a training set, drawn by the spec's seed; see `defaults`.

    Instants become seconds after the row's prediction time. Raises ValueError if there are no rows.
    """
    if rows.is_empty():
        raise ValueError(f"no training rows of {spec.name!r} to answer with while features are not read")
    chosen = rows.sample(min(ROWS, rows.height), seed=spec.training.seed)
    asked = chosen[spec.outcome.prediction_time].dt.epoch("us") / 1e6
    times = {column_of(elapsed.since) for elapsed in spec.elapsed}
    return {
        name: (chosen[name] - asked if name in times else chosen[name]).to_list()
        for name in map(column_of, spec.features)
    }
