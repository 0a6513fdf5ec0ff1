"""The numbers of a window of answers, a row each: by version, in whole and in parts, with intervals.

Not here: what is asked of them (the monitoring checks).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from checks.monitoring_window import groups, numbers
from ml.bootstrap import Scorer, interval
from ml.slices import MIN_ROWS, declared_columns, slice_columns
from ml.spec import ModelSpec
from ml.task import task_of
from ml.weighted import WeightedMean

ALL = "all"
AGE = "feature_age_seconds"
SCHEMA: dict[str, Any] = {
    "version": pl.String,
    "slice": pl.String,
    "slice_value": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "rows": pl.Int64,
    "labelled": pl.Int64,
}
SQUARED = "squared_error"


def quality_metrics(spec: ModelSpec) -> tuple[str, str, str]:
    """Return the names of score, loss and calibration error."""
    return task_of(spec).score, "log_loss" if spec.task == "binary" else SQUARED, "calibration_error"


def measured(spec: ModelSpec, answers: pl.DataFrame) -> pl.DataFrame:
    """Return the metrics (SCHEMA) of answers with columns of <model>/outcomes, and <view>__age of each view.

    Intervals hold the central 95% of what days, drawn whole, make of a number. A number that too few rows, or labels of
    one class only, do not give is null.
    """
    parts = slice_columns(spec)
    found = list[dict[str, Any]]()
    for (version,), rows in answers.with_columns(parts).group_by("model_version", maintain_order=True):
        about = {"version": str(version)}
        found += [about | line for line in _of_whole(spec, rows)]
        for name, column in declared_columns(spec).items():
            for (value,), part in rows.group_by(column, maintain_order=True):
                about = {"version": str(version), "slice": name, "slice_value": str(value)}
                found += [about | line for line in _lines(spec, part, MIN_ROWS)]
    return pl.DataFrame(found, schema=SCHEMA).sort("version", "slice", "slice_value", "metric")


def _of_whole(spec: ModelSpec, rows: pl.DataFrame) -> Iterator[dict[str, Any]]:
    whole = {"slice": ALL, "slice_value": ""}
    yield from (whole | line for line in _lines(spec, rows, 2))
    slow = rows["taken_ms"].quantile(0.99, "nearest")
    yield whole | _count(rows) | {"metric": "p99_ms", "value": slow}
    for column in (c for c in rows.columns if c.endswith("__age")):
        view = {"slice": "view", "slice_value": column.removesuffix("__age")}
        yield view | _count(rows) | {"metric": AGE, "value": rows[column].quantile(0.5, "nearest")}


def _lines(spec: ModelSpec, rows: pl.DataFrame, least: int) -> Iterator[dict[str, Any]]:
    """Yield the metrics of a part; those that need labels from `least` labelled rows on."""
    counted, labelled = _count(rows), rows.drop_nulls(["label", "answer"])
    yield counted | {"metric": "rows", "value": float(rows.height)}
    yield counted | {"metric": "degraded_share", **_bounded(WeightedMean(_numbers(rows, "degraded")), rows)}
    answered = rows.drop_nulls("answer")
    if answered.height:
        yield counted | {"metric": "mean_answer", **_bounded(WeightedMean(_numbers(answered, "answer")), answered)}
    if labelled.height:
        yield counted | {"metric": "mean_label", **_bounded(WeightedMean(_numbers(labelled, "label")), labelled)}
        loss = quality_metrics(spec)[1]
        yield counted | {"metric": loss, **_bounded(WeightedMean(_numbers(labelled, "loss")), labelled)}
    if labelled.height >= least and labelled["label"].n_unique() > 1:
        scorers = task_of(spec).scorers(*numbers(labelled))
        for name in (quality_metrics(spec)[0], quality_metrics(spec)[2]):
            yield counted | {"metric": name, **_bounded(scorers[name], labelled)}


def _bounded(scorer: Scorer, rows: pl.DataFrame) -> dict[str, float | None]:
    try:
        found = interval(scorer, rows.height, groups(rows))
    except ValueError:
        return {"value": scorer(np.ones(rows.height)), "low": None, "high": None}
    return {"value": found.value, "low": found.low, "high": found.high}


def _numbers(rows: pl.DataFrame, column: str) -> Any:
    return rows[column].cast(pl.Float64).to_numpy()


def _count(rows: pl.DataFrame) -> dict[str, Any]:
    return {"rows": rows.height, "labelled": rows["label"].count()}
