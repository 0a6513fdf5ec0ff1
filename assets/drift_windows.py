"""Which rows the drift checks compare: published months, what a champion learned from, a training set's windows.

Each window says by Delta's own files which rows it holds, so that a kept profile is that of exactly these rows. Not
here: comparing them (`checks/drift.py`) and the checks themselves (`assets/drift.py`).
"""

from collections.abc import Iterable, Sequence

import polars as pl

from assets.resources import Platform
from checks.drift_windows import Part, Window
from ml.fingerprint import json_hash
from ml.lake import WHOLE
from ml.months import between, end_of, month_before, start_of
from ml.spec import ModelSpec
from ml.split_windows import Window as Interval
from ml.trained_spec import trained_spec
from serving.model_repository import ModelRepository

REFERENCE_MONTHS = 3
YEAR = 12
SERVING_DRIFT = "serving_drift"
LEARNED = "training_set_version"  # in the evidence of `serving_drift`: which training set a model version learned from


class PublishedMonths:
    """The months of a published version of a view, as windows."""

    def __init__(self, platform: Platform, view: str, version: int) -> None:
        self._platform, self._view, self._version = platform, view, version
        self._files = platform.lake.files_of(f"published/{view}", version)

    @property
    def months(self) -> list[str]:
        """Those that have rows, in order."""
        return sorted(self._files)

    def window(self, month: str) -> Window:
        """Return the rows of one month."""
        return Window(f"{self._view} {month}", self.parts([month]))

    def before(self, month: str) -> Window:
        """Return the months before one, those that have rows."""
        parts = self.parts(between(month_before(month, REFERENCE_MONTHS), month_before(month, 1)))
        return Window(_span(part.label for part in parts), parts, in_order=True)

    def year_before(self, month: str) -> Window | None:
        """Return the same month of the year before, None if it has no rows."""
        parts = self.parts([month_before(month, YEAR)])
        return Window(parts[0].label, parts) if parts else None

    def parts(self, months: Sequence[str]) -> tuple[Part, ...]:
        """Return those of `months` that have rows."""
        return tuple(self._part(month) for month in months if month in self._files)

    def _part(self, month: str) -> Part:
        table, lake = f"published/{self._view}", self._platform.lake
        return Part(table, month, json_hash(self._files[month]), lambda: lake.read(table, self._version, [month]))


def champion_window(platform: Platform, spec: ModelSpec, view: str) -> Window | None:
    """Return the rows of a view from which the champion's training rows were joined, None if there is no champion.

    These are the months of its training window in the published version that its training set was made from. They are
    compared with a published month like with like: the training rows themselves weigh each of them by the questions
    that met it, and have nulls where no row of the view was known. None, too, if the champion does not read the view.
    """
    champion = champion_of(platform, spec)
    if champion is None:
        return None
    version, learned = champion
    metadata = platform.lake.metadata(f"{spec.name}/training_set", learned)
    sources, spec = metadata.get("sources", {}), trained_spec(spec, metadata)
    if view not in sources:
        return None
    published = PublishedMonths(platform, view, sources[view])
    parts = published.parts([month for month in published.months if _within(month, spec.split.train)])
    return Window(f"{spec.name} version {version}, learned from {_span(p.label for p in parts)}", parts)


def champion_of(platform: Platform, spec: ModelSpec) -> tuple[str, int] | None:
    """Return the version of the champion and of the training set it learned from.

    Taken from the deployed plan and the audit table where these know them: MLflow takes a second to import.
    """
    plan = ModelRepository(platform.settings.serving_home).deployed(spec.name)
    if plan is None:
        champion = platform.registry.champion(spec.name)
        return None if champion is None else (champion.version, champion.training_set_version)
    version = plan.champion.version
    verdict = platform.verdicts.newest(f"{spec.name}/model", int(version), WHOLE, SERVING_DRIFT)
    if verdict is not None and LEARNED in verdict.evidence:
        return version, int(verdict.evidence[LEARNED])
    return version, platform.registry.version(spec.name, version).training_set_version


def training_window(platform: Platform, spec: ModelSpec, version: int, interval: Interval, name: str) -> Window:
    """Return the rows of a training set that are asked within an interval."""
    table = f"{spec.name}/training_set"
    asked = pl.col(spec.outcome.prediction_time)
    files = platform.lake.files_of(table, version)
    key = json_hash([files, interval.start.isoformat(), interval.end.isoformat(), spec.outcome.prediction_time])

    def read() -> pl.LazyFrame:
        return platform.lake.read(table, version).filter((asked >= interval.start) & (asked < interval.end))

    label = f"{interval.start:%Y-%m-%d}..{interval.end:%Y-%m-%d}"
    return Window(f"{name} {interval.start:%Y-%m-%d} to {interval.end:%Y-%m-%d}", (Part(table, label, key, read),))


def _within(month: str, interval: Interval) -> bool:
    return start_of(month) < interval.end and end_of(month) > interval.start


def _span(labels: Iterable[str]) -> str:
    names = list(labels)
    return "no month" if not names else names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
