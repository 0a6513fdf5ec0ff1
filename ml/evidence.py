"""What a model card rests on: a candidate's answers measured with intervals, by month, in parts, and by input.

Data in, Evidence out. Not here: words and pictures (ml/card.py), bounds and verdicts (checks/).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from ml.bootstrap import Interval, Scorer, interval
from ml.encoding import Encoding
from ml.evaluation import calibration_curve
from ml.held_out import held_out_predictions
from ml.importance import permutation_importance
from ml.rows import Rows, StreamedRows
from ml.slices import slices
from ml.spec import ModelSpec
from ml.split import Parts
from ml.task import Task, days, task_of
from ml.threshold import CostCurve, Decision, decide
from ml.threshold import Rows as DecidedRows

RESAMPLES = 200
IMPORTANCE_ROWS = 10_000  # the card need not be as sure of each input as the gate
CURVE_POINTS = 200
CARD_ROWS = 200_000  # of each window, evenly spaced, where rows are not in memory


@dataclass(frozen=True)
class Answered:
    """Rows of a window (training-set columns) and the served graph's answers [N] on them."""

    rows: pl.DataFrame
    answers: NDArray[Any]


@dataclass(frozen=True)
class Evidence:
    """All that a card shows. Frames have one row a month, part or input.

    `calibration` is [bins, 3] as of `ml.evaluation.calibration_curve`, on test rows; `curves` holds, if there is a
    decision, [points, 2] of threshold and cost a row for validation and test.
    """

    windows: pl.DataFrame
    validation: dict[str, Interval]
    test: dict[str, Interval]
    months: pl.DataFrame
    parts: pl.DataFrame
    calibration: NDArray[np.float64]
    importance: pl.DataFrame
    missing: pl.DataFrame
    decision: Decision | None
    curves: dict[str, NDArray[np.float64]]
    encoding: Encoding


def gather(
    spec: ModelSpec,
    parts: Parts[Any],
    encoding: Encoding,
    onnx: Path,
    checked: NDArray[Any],
    held_out: NDArray[Any],
) -> Evidence:
    """Measure the model in the file `onnx` for its card, by its answers on all validation and test rows."""
    task, train = task_of(spec), _in_memory(parts.train)[0]
    validation, test = _answered(parts.validation, checked), _answered(parts.test, held_out)
    told = held_out_predictions(spec, test.rows, test.answers)
    labels = test.rows[spec.outcome.label].to_numpy()
    decision = None if spec.costs is None else decide(spec.costs, _rows(spec, validation), _rows(spec, test))
    return Evidence(
        windows=_windows(spec, parts),
        validation=measured(spec, task, validation),
        test=measured(spec, task, test),
        months=slices(_by_month(told), "month", task, answer=task.output).sort("value"),
        parts=_in_parts(spec, task, told),
        calibration=calibration_curve(labels, test.answers),
        importance=permutation_importance(spec, onnx, test.rows, IMPORTANCE_ROWS),
        missing=_missing(encoding, train, test.rows),
        decision=decision,
        curves={} if decision is None else {"validation": _curve(spec, validation), "test": _curve(spec, test)},
        encoding=encoding,
    )


def measured(spec: ModelSpec, task: Task, answered: Answered) -> dict[str, Interval]:
    """Return each metric with its 95% interval, whole days drawn; without one (NaN) where too few rows allow it."""
    drawn = days(spec, answered.rows)
    scorers = task.scorers(answered.rows[spec.outcome.label].to_numpy(), answered.answers)
    return {name: _interval(scorer, drawn) for name, scorer in scorers.items()}


def _interval(scorer: Scorer, drawn: ArrayLike) -> Interval:
    rows = len(np.asarray(drawn))
    try:
        return interval(scorer, rows, drawn, RESAMPLES)
    except ValueError:  # no resample has a score
        return Interval(scorer(np.ones(rows)), float("nan"), float("nan"))


def _in_memory(rows: Rows) -> tuple[pl.DataFrame, int]:
    """Return the rows, or every n-th of them where they are not in memory, and n."""
    if isinstance(rows, StreamedRows):
        return rows.sample(CARD_ROWS), max(-(-rows.height // CARD_ROWS), 1)
    assert isinstance(rows, pl.DataFrame)
    return rows, 1


def _answered(rows: Rows, answers: NDArray[Any]) -> Answered:
    kept, step = _in_memory(rows)
    return Answered(kept, answers[::step])


def _windows(spec: ModelSpec, parts: Parts[Any]) -> pl.DataFrame:
    named = (("train", parts.train), ("validation", parts.validation), ("test", parts.test))
    return pl.DataFrame(
        {
            "window": name,
            "from": f"{getattr(spec.split, name).start:%Y-%m-%d}",
            "to (exclusive)": f"{getattr(spec.split, name).end:%Y-%m-%d}",
            "rows": rows.height,
            "mean label": float(rows[spec.outcome.label].cast(pl.Float64).mean()),  # type: ignore[arg-type]
        }
        for name, rows in named
    )


def _by_month(told: pl.DataFrame) -> pl.DataFrame:
    return told.with_columns(pl.col("prediction_time").dt.strftime("%Y-%m").alias("month"))


def _in_parts(spec: ModelSpec, task: Task, told: pl.DataFrame) -> pl.DataFrame:
    """Return the metrics of each part that the spec slices by, worst score first."""
    hours = {field.name for field in spec.request if field.kind == "local_time"}
    columns = [f"{name}_hour" if name in hours else name for name in spec.slices]
    found = [part for name in columns if (part := slices(told, name, task, answer=task.output)).height]
    return pl.concat(found).sort(task.score) if found else pl.DataFrame()


def _missing(encoding: Encoding, train: pl.DataFrame, test: pl.DataFrame) -> pl.DataFrame:
    """Return the share of missing values of each input in train and test rows, the largest first."""
    found = [
        {"input": entry.name, "train": _absent(train[entry.name]), "test": _absent(test[entry.name])}
        for entry in encoding.inputs
    ]
    return pl.DataFrame(found).sort(["test", "train", "input"], descending=[True, True, False])


def _absent(values: pl.Series) -> float:
    empty = (values == "").fill_null(False).sum() if values.dtype == pl.String else 0
    return float(values.null_count() + empty) / max(len(values), 1)


def _rows(spec: ModelSpec, answered: Answered) -> DecidedRows:
    labels = answered.rows[spec.outcome.label].cast(pl.Float64).to_numpy()
    return DecidedRows(labels, answered.answers.astype(np.float64), days(spec, answered.rows))


def _curve(spec: ModelSpec, answered: Answered) -> NDArray[np.float64]:
    assert spec.costs is not None
    rows = _rows(spec, answered)
    curve = CostCurve(spec.costs, rows.labels, rows.probabilities)
    chosen = np.unique(np.linspace(0, len(curve.thresholds) - 1, CURVE_POINTS).astype(int))
    return np.column_stack([curve.thresholds, curve(np.ones(len(rows.labels)))])[chosen][::-1]
