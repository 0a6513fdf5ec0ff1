"""Cutting a training set into train, validation and test rows by the spec's windows.

A label may be used only where it was known in time: a train row's label by the start of validation,
a validation row's by the start of test. Rows whose label became known later are left out, because
whoever trained at that instant could not have had them. Test rows keep theirs: they only measure.

A refit learns again once the test rows have measured the recipe: validation then are the newest days, and all before
them is learned from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

import polars as pl

from ml.rows import StreamedRows
from ml.spec import ModelSpec
from ml.split_windows import Window
from ml.task import task_of

Cut = Mapping[str, tuple[Window, datetime | None]]
Some = TypeVar("Some", pl.DataFrame, StreamedRows)


@dataclass(frozen=True)
class Parts(Generic[Some]):
    """The rows of each window in prediction-time order, and how many labels came too late to be used."""

    train: Some
    validation: Some
    test: Some
    late_labels: int


def split_rows(spec: ModelSpec, rows: pl.DataFrame, cut: Cut | None = None) -> Parts[pl.DataFrame]:
    """Cut `rows` (one a prediction; null labels allowed) by `spec.split`; rows without label are left out.

    `cut` is another one, such as `refit_cut`. Raises ValueError that names model and window if a window has no rows
    or labels that the task cannot learn from.
    """
    outcome = spec.outcome
    labelled = rows.drop_nulls(outcome.label).sort(outcome.prediction_time, outcome.row_id)
    parts = {}
    late = 0
    for name, (window, deadline) in (cut or _windows(spec)).items():
        parts[name], left_out = window_rows(spec, name, window, labelled, deadline)
        late += left_out
    return Parts(**parts, late_labels=late)


def window_rows(
    spec: ModelSpec, name: str, window: Window, labelled: pl.DataFrame, deadline: datetime | None
) -> tuple[pl.DataFrame, int]:
    """Return the rows of a window whose label was known by `deadline`, and how many were not; raises as split_rows."""
    outcome = spec.outcome
    inside = labelled.filter(_holds(outcome.prediction_time, window))
    known = inside if deadline is None else inside.filter(_known(outcome.label_timestamp, deadline))
    _require_labels(spec, name, window, known[outcome.label])
    return known, inside.height - known.height


def stream_rows(spec: ModelSpec, table: pl.LazyFrame, cut: Cut | None = None) -> Parts[StreamedRows]:
    """Cut a table that does not fit in memory as `split_rows` does; rows keep the table's order."""
    outcome = spec.outcome
    parts = {}
    late = 0
    for name, (window, deadline) in (cut or _windows(spec)).items():
        inside = pl.col(outcome.label).is_not_null() & _holds(outcome.prediction_time, window)
        known = inside if deadline is None else inside & _known(outcome.label_timestamp, deadline)
        parts[name] = StreamedRows.where(table, known)
        if deadline is not None:
            late += StreamedRows.where(table, inside).height - parts[name].height
        labels = table.filter(known).select(pl.col(outcome.label).unique()).collect(engine="streaming")
        _require_labels(spec, name, window, labels[outcome.label])
    return Parts(**parts, late_labels=late)


def train_rows(spec: ModelSpec, table: pl.LazyFrame) -> int:
    """Return how many rows of the table there are to learn from, late labels included; reads two columns."""
    labelled = pl.col(spec.outcome.label).is_not_null()
    inside = _holds(spec.outcome.prediction_time, spec.split.train)
    return int(table.filter(labelled & inside).select(pl.len()).collect(engine="streaming").item())


def refit_cut(spec: ModelSpec) -> Cut:
    """Return the windows of a refit: validation as long as it was, at the end of the test window; before it, train."""
    split = spec.split
    middle = split.test.end - (split.validation.end - split.validation.start)
    validation = Window(start=middle, end=split.test.end)
    return {
        "train": (Window(start=split.train.start, end=middle), middle),
        "validation": (validation, None),
        "test": (split.test, None),
    }


def _windows(spec: ModelSpec) -> Cut:
    """Return each part's window, and until when its labels must have been known."""
    split = spec.split
    return {
        "train": (split.train, split.validation.start),
        "validation": (split.validation, split.test.start),
        "test": (split.test, None),
    }


def _holds(column: str, window: Window) -> pl.Expr:
    return (pl.col(column) >= window.start) & (pl.col(column) < window.end)


def _known(column: str, deadline: datetime) -> pl.Expr:
    return pl.col(column) <= deadline


def _require_labels(spec: ModelSpec, name: str, window: Window, label: pl.Series) -> None:
    where = f"{name} window [{window.start:%Y-%m-%d}, {window.end:%Y-%m-%d}) of model {spec.name!r}"
    if label.is_empty():
        raise ValueError(f"{where} has no labelled rows; materialize its months or move the window")
    if problem := task_of(spec).label_problem(label):
        raise ValueError(f"{where} {problem} (column {spec.outcome.label!r})")
