"""The rows that settings are searched on: pairs of train and validation rows, all before the test window.

Here: cutting them, each validation window after its train window. Not here: the test window, which only judges a
finished model (ml/split.py).
"""

from dataclasses import dataclass

import polars as pl

from ml.spec import ModelSpec
from ml.split import window_rows
from ml.split_windows import Window


@dataclass(frozen=True)
class Fold:
    """The rows to learn from and those to judge by, each in prediction-time order."""

    train: pl.DataFrame
    validation: pl.DataFrame


def before_test(spec: ModelSpec) -> pl.Expr:
    """Return what holds for rows asked before the test window."""
    return pl.col(spec.outcome.prediction_time) < spec.split.test.start


def make_folds(spec: ModelSpec, rows: pl.DataFrame, count: int = 1) -> tuple[Fold, ...]:
    """Cut `rows` (one a prediction; null labels allowed) into `count` folds in time order.

    The last fold is the spec's own train and validation window; each one before it validates on the stretch of the
    same length right before, and learns from all that the spec's train window holds earlier than that. As in
    ml/split.py, a label may be used only where it was known in time. Raises ValueError if so many folds do not
    fit, or a window has no labels that the task can learn from.
    """
    split, outcome = spec.split, spec.outcome
    length = split.validation.end - split.validation.start
    fitting = -(-(split.train.end - split.train.start) // length)
    if count > fitting:
        raise ValueError(
            f"{count} folds do not fit model {spec.name!r}: its train window holds {fitting} of the length of its "
            "validation window; ask for fewer"
        )
    labelled = rows.filter(before_test(spec)).drop_nulls(outcome.label).sort(outcome.prediction_time, outcome.row_id)
    found = []
    for back in reversed(range(count)):
        shift = back * length
        train = Window(start=split.train.start, end=split.train.end - shift)
        validation = Window(start=split.validation.start - shift, end=split.validation.end - shift)
        learn, _ = window_rows(spec, "train", train, labelled, validation.start)
        judge, _ = window_rows(spec, "validation", validation, labelled, split.test.start - shift)
        found.append(Fold(learn, judge))
    return tuple(found)
