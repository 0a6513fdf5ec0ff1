"""The two ways in which the leakage audit makes a training set again, and what differs from what is in it.

The verdict and its words are in `leakage`, the raw row behind a difference is looked for in `leakage_cause`.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import polars as pl

from checks.parity_comparison import differing
from ml.feature_views import FeatureView
from ml.rebuild import Cut, Made, Rebuilder
from ml.spec import ModelSpec, column_of

WITHIN = timedelta(minutes=30)

# How far back raw rows known at a moment are taken at first: the shortest that holds a view's ttl. All of them are
# taken only for values that still differ.
_SPANS = tuple(timedelta(days=days) for days in (2, 8, 32))


@dataclass(frozen=True)
class Compared:
    """Cells of one view beside those made again.

    `rows` are training rows and `values` their features made again, both [rows]; `differ` names the places of the rows
    that differ, by feature. `moment` is the one at which raw rows were cut off, None if they were not.
    """

    view: FeatureView
    moment: datetime | None
    cells: int
    rows: pl.DataFrame
    values: pl.DataFrame
    differ: Mapping[str, Sequence[int]]

    @property
    def differences(self) -> int:
        """How many cells differ."""
        return sum(len(places) for places in self.differ.values())


@dataclass(frozen=True)
class TrainingSet:
    """A training set, and how the tables that it was joined from were made.

    `rows` is [rows, columns of the training set]; `views` have only the fields that the model reads, `made` says how
    the months of each were made.
    """

    spec: ModelSpec
    rows: pl.DataFrame
    views: Sequence[FeatureView]
    made: Mapping[str, Sequence[Made]]

    def asked(self, moment: datetime) -> pl.DataFrame:
        """Return the rows asked in the `WITHIN` up to a moment."""
        at = pl.col(self.spec.outcome.prediction_time)
        return self.rows.filter((at > moment - WITHIN) & (at <= moment))

    def again(self, rebuilder: Rebuilder, view: FeatureView, rows: pl.DataFrame, cut: Cut) -> pl.DataFrame:
        """Return [rows, features of a view] made again for some of the rows."""
        at = self.spec.outcome.prediction_time
        return rebuilder.values(view, self.made[view.name], rows.select(*view.join_keys, at), at, cut)


def views_read(spec: ModelSpec, views: Iterable[FeatureView]) -> list[FeatureView]:
    """Return the views that a model reads, each with no other fields than those."""
    read = [
        replace(view, fields=tuple(field for field in view.fields if f"{view.name}:{field.name}" in spec.features))
        for view in views
    ]
    return [view for view in read if view.fields]


def compare_cut_off(training_set: TrainingSet, rebuilder: Rebuilder, moments: Iterable[datetime]) -> list[Compared]:
    """Compare the rows asked in the `WITHIN` up to each moment with what is made of the raw rows known at it."""
    work = [(moment, view) for moment in moments for view in training_set.views]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda item: _at(training_set, rebuilder, *item), work))


def compare_uncut(training_set: TrainingSet, rebuilder: Rebuilder) -> list[Compared]:
    """Compare every row with what is made of all raw rows, however late they came."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(partial(_whole, training_set, rebuilder), training_set.views))


def _at(training_set: TrainingSet, rebuilder: Rebuilder, moment: datetime, view: FeatureView) -> Compared:
    """A value that is equal, made of some rows known then, is proof enough; one that differs is made of all of them."""
    left = asked = training_set.asked(moment)
    values, differ = pl.DataFrame(), dict[str, list[int]]()
    short = [moment - span for span in _SPANS if span >= view.ttl][:1]
    for since in (*short, None):
        values = training_set.again(rebuilder, view, left, Cut(moment, since))
        differ = _differing(view, left, values)
        places = sorted(set().union(*differ.values()))
        if since is None or not places:
            break
        left = left[places]
    return Compared(view, moment, asked.height * len(view.fields), left, values, differ)


def _whole(training_set: TrainingSet, rebuilder: Rebuilder, view: FeatureView) -> Compared:
    rows = training_set.rows
    values = training_set.again(rebuilder, view, rows, Cut())
    return Compared(view, None, rows.height * len(view.fields), rows, values, _differing(view, rows, values))


def _differing(view: FeatureView, rows: pl.DataFrame, values: pl.DataFrame) -> dict[str, list[int]]:
    columns = {f"{view.name}:{field.name}": field.kind for field in view.fields}
    found = {name: differing(rows[column_of(name)], values[column_of(name)], kind) for name, kind in columns.items()}
    return {name: places for name, places in found.items() if places}
