"""The raw row behind a leaked value: when, after the question, the value could first be had, and what was new then."""

from bisect import bisect_left
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from checks.leakage_rebuild import TrainingSet
from checks.parity_comparison import differing
from ml.feature_views import FeatureView
from ml.history import CREATED, EVENT
from ml.rebuild import Cut, Rebuilder
from ml.spec import column_of

# How far after the question one looks, little by little: a later cut costs more.
_HORIZONS = (timedelta(hours=12), timedelta(days=3), timedelta(days=40), timedelta(days=400))

_UNEXPLAINED = "nothing that became known later: the SQL and raw rows on record do not make this value"


def find_cause(
    training_set: TrainingSet,
    rebuilder: Rebuilder,
    view: FeatureView,
    feature: str,
    row: pl.DataFrame,
    moment: datetime,
) -> str:
    """Say since when the value of a feature in a training row [1 row] can be had, and which raw row made it so.

    `moment` is the cut at which the value was another one.
    """
    column = column_of(feature)
    (kind,) = (field.kind for field in view.fields if f"{view.name}:{field.name}" == feature)
    raw = rebuilder.raw_behind(view, training_set.made[view.name], moment)

    def to_be_had(cut: datetime) -> bool:
        return not differing(row[column], training_set.again(rebuilder, view, row, Cut(cut))[column], kind)

    after = moment
    for horizon in _HORIZONS:
        instants = sorted({time for _, history in raw for time in history.knowledge(after, moment + horizon)})
        if instants and to_be_had(instants[-1]):
            since = instants[bisect_left(instants, True, key=to_be_had)]
            return f"{since:%Y-%m-%d %H:%M} UTC, when this became known: " + _new_row(raw, row, since)
        after = max(instants, default=after)
    return _UNEXPLAINED


def find_late_cause(
    training_set: TrainingSet, rebuilder: Rebuilder, view: FeatureView, feature: str, row: pl.DataFrame
) -> str:
    """Say whether late corrections changed a value, or whether it is another one without them too."""
    column = column_of(feature)
    (kind,) = (field.kind for field in view.fields if f"{view.name}:{field.name}" == feature)
    values = training_set.again(rebuilder, view, row, Cut())
    return _UNEXPLAINED if differing(row[column], values[column], kind) else "a correction that became known later"


def _new_row(raw: list[tuple[str, Any]], row: pl.DataFrame, since: datetime) -> str:
    """Return the raw row that became known at `since`; of several, the one that has most in common with the row."""
    asked = {str(value) for value in row.row(0)}
    found = [(table, version) for table, history in raw for version in history.new_at(since).to_dicts()]
    table, version = max(found, key=lambda item: len(asked & {str(value) for value in item[1].values()}))
    shown = {name: value for name, value in version.items() if value is not None}
    times = f"{EVENT}={shown.pop(EVENT):%Y-%m-%d %H:%M}, {CREATED}={shown.pop(CREATED):%Y-%m-%d %H:%M}"
    return f"{table} " + ", ".join(f"{name}={value}" for name, value in shown.items()) + f", {times}"
