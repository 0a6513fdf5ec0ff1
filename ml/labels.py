"""Which label belongs to which answer: the prediction log joined with outcomes, by all that a request says.

Used by the canary's judge and by `<model>/outcomes`, so that both mean the same by a label that has come. Not here:
losses (ml/task.py) and verdicts (checks/).
"""

from datetime import datetime, timedelta

import polars as pl

from ml.spec import ModelSpec


def mature(spec: ModelSpec, now: datetime) -> pl.Expr:
    """Return whether an answer is old enough for its label to have come, from its column `time`.

    Early labels are a selection: flights that are on time land first.
    """
    return pl.col("time") <= now - timedelta(hours=spec.outcome.label_hours)


def with_labels(spec: ModelSpec, answers: pl.DataFrame, outcomes: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Return the mature ones of N answers, in their order, with row id, label and label's instant of their outcome.

    Args:
        spec: The model's.
        answers: Columns of the prediction log.
        outcomes: Rows of the spec's outcome table.
        now: The platform's instant: a label that is known only later is null, as is one that never came.
    """
    outcome = spec.outcome
    named = [name for name in outcomes.columns if name in answers.columns and "__" not in name]
    told = [name for name in (outcome.row_id, outcome.label, outcome.label_timestamp) if name not in named]
    known = pl.col(outcome.label_timestamp) <= now
    rows = outcomes.with_columns(pl.when(known).then(pl.col(c)).alias(c) for c in told if c != outcome.row_id)
    rows = rows.sort(pl.col(outcome.label).is_not_null(), outcome.prediction_time)  # of several, one that has a label
    keys = [f"__{name}" for name in named]
    rows = rows.select(*(_alike(rows, name) for name in named), *told).unique(keys, keep="last")
    asked = answers.filter(mature(spec, now)).with_columns(_alike(answers, name) for name in named)
    return asked.join(rows, on=keys, how="left", nulls_equal=True, maintain_order="left").drop(keys)


def _alike(frame: pl.DataFrame, name: str) -> pl.Expr:
    """Return a column as both sides can have it: a number (of a time: seconds since the epoch) or a text."""
    kind, column = frame.schema[name], pl.col(name)
    if isinstance(kind, pl.Datetime):
        column = column.dt.epoch("us") / 1e6
    elif kind != pl.String:
        column = column.cast(pl.Float64)
    return (column.fill_null("") if kind == pl.String else column).alias(f"__{name}")  # a request has no null text
