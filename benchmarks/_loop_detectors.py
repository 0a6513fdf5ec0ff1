"""Who looks at a week of answers: Headwater's signals, Evidently's preset, and a plain PSI threshold.

Each says whether the week is breached. What they compare with is the same: the rows that the version learned from.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import polars as pl

from checks.drift_profile import Profile, profile_of
from checks.drift_statistics import compare
from checks.monitoring_answers import check_prediction_drift
from checks.monitoring_quality import check_calibration, check_performance
from checks.monitoring_window import Answers, HeldOut
from checks.novelty import check_novelty, known_from
from ml.spec import ModelSpec, column_of
from ml.windows import Span

SAMPLE, SEED, PSI = 3_000, 7, 0.25
WEEK = timedelta(days=7)
OURS = ("performance", "calibration", "novelty", "prediction_drift")


@dataclass(frozen=True)
class Learned:
    """What a version learned from, and its answers to its held-out rows (columns answer, label, day, time)."""

    spec: ModelSpec
    rows: pl.DataFrame
    held: HeldOut
    _profiles: dict[str, Profile] = field(default_factory=dict)

    @cached_property
    def columns(self) -> list[str]:
        """The features and request fields that are compared: no times."""
        times = {entry.since for entry in self.spec.elapsed}
        features = [column_of(f) for f in self.spec.features if f not in times]
        return features + [f.name for f in self.spec.request if f.kind in ("numeric", "categorical")]

    @cached_property
    def known(self) -> Any:
        """What novelty compares with."""
        return known_from(self.rows, self.columns)

    def profile(self, column: str) -> Profile:
        """Return a column's distribution among the rows learned from."""
        if column not in self._profiles:
            self._profiles[column] = profile_of(self.rows[column])
        return self._profiles[column]


def ours(learned: Learned, week: pl.DataFrame, before: pl.DataFrame, start: datetime) -> dict[str, bool]:
    """Return which of our checks a week breaches; rows have `answer`, `label`, `time`, `degraded`, `taken_ms`."""
    spec = learned.spec
    answers = Answers(Span(start, start + WEEK), "1", week, before)
    bound = spec.monitoring.max_novel_share
    found = {
        "performance": check_performance(spec, answers, learned.held),
        "calibration": check_calibration(spec, answers),
        "novelty": check_novelty(learned.known, week.select(learned.columns), bound),
        "prediction_drift": check_prediction_drift(spec, answers, learned.held),
    }
    return {name: not outcome.passed for name, outcome in found.items()}


def plain_psi(learned: Learned, week: pl.DataFrame) -> bool:
    """Whether the population stability index of one feature reaches the usual threshold, as Evidently computes it."""
    return any(compare(learned.profile(c), profile_of(week[c])).psi >= PSI for c in learned.columns)


def evidently(learned: Learned, week: pl.DataFrame) -> bool:
    """Whether Evidently's preset, with its defaults, calls the week's features drifted: half of the columns are."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    names = [c for c in learned.columns if week[c].drop_nulls().len()]  # it raises on an empty column
    numbers = [c for c in names if learned.rows.schema[c].is_numeric()]
    told = DataDefinition(numerical_columns=numbers, categorical_columns=[c for c in names if c not in numbers])
    sides = [
        Dataset.from_pandas(rows.select(names).sample(min(SAMPLE, rows.height), seed=SEED).to_pandas(), told)
        for rows in (week, learned.rows)
    ]
    metrics = Report([DataDriftPreset()]).run(*sides).dict()["metrics"]
    counted = next(m for m in metrics if "DriftedColumnsCount" in str(m.get("metric_name", m.get("metric_id", ""))))
    return float(counted["value"]["share"]) >= 0.5


def monday(moment: datetime) -> datetime:
    """Return the first instant of the week that a moment lies in."""
    return (moment - timedelta(days=moment.weekday())).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
