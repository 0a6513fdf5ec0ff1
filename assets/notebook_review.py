"""What a model review shows: a version and the one it would replace, on the same held-out rows, and what gates said.

The answers, metrics and slices are those of the promotion gate (`assets/promotion.py`); nothing is judged or recorded.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl
from numpy.typing import NDArray

from assets.links import run_link
from assets.promotion import Champion, contest_of
from assets.resources import Platform
from checks.contest import Contest
from checks.promotion_plot import draw
from checks.promotion_slices import judge_slices
from ml.model_version import ModelVersion
from ml.registry import CHALLENGER, CHAMPION, PREVIOUS, Registry
from ml.spec import ModelSpec
from ml.verdicts import SUMMARY


@dataclass(frozen=True)
class ModelReview:
    """A version under review and, if there is one, the version that it would replace (or did)."""

    platform: Platform
    reviewed: ModelVersion
    other: ModelVersion | None
    contest: Contest

    @property
    def answers(self) -> dict[str, NDArray[Any]]:
        """The answers [N] of each version to the held-out rows, by its name."""
        found = {_title(self.reviewed): self.contest.candidate}
        if self.other is not None and self.contest.champion is not None:
            found[_title(self.other)] = self.contest.champion
        return found

    def metrics(self) -> pl.DataFrame:
        """Return a row a metric, a column a version."""
        contest = self.contest
        measured = {name: contest.task.evaluate(contest.labels, given) for name, given in self.answers.items()}
        rows = {name: metrics.as_dict() for name, metrics in measured.items()}
        first = next(iter(rows.values()))
        return pl.DataFrame({"metric": list(first), **{name: list(row.values()) for name, row in rows.items()}})

    @cached_property
    def slices(self) -> pl.DataFrame:
        """A row a declared slice, the worst first, as `judge_slices` returns it."""
        return judge_slices(self.contest)

    def slice_table(self) -> pl.DataFrame:
        """Return the slices for people: each version's score under its name, and no column that says nothing."""
        title = self.contest.task.score_title
        reviewed, other = self._names
        names = {"candidate": f"{title}, {reviewed}", "champion": f"{title}, {other}"}
        told = [column.name for column in self.slices if column.null_count() < len(column)]
        return self.slices.select(told).rename(names, strict=False)

    def picture(self) -> bytes:
        """Return the gate's picture as a PNG: calibration, and the slices."""
        return draw(self.contest, self.slices, self._names)

    @property
    def _names(self) -> tuple[str, str]:
        return _title(self.reviewed), "version" if self.other is None else _title(self.other)

    def gates(self) -> pl.DataFrame:
        """Return the newest verdict of each check on the version and on its training set."""
        model, version = self.reviewed.name, self.reviewed
        asked = {f"{model}/model": int(version.version), f"{model}/training_set": version.training_set_version}
        parts = []
        for table, number in asked.items():
            rows = self.platform.verdicts.rows(table).filter(version=number)
            newest = rows.unique("check", keep="last", maintain_order=True)
            parts.append(newest.select("table", "version", "check", "passed", "blocking", SUMMARY, "at"))
        return pl.concat(parts)

    @property
    def mlflow(self) -> str:
        """Where `make mlflow` shows the version's run."""
        return str(run_link(self.platform, self.reviewed).value)


def model_review(platform: Platform, spec: ModelSpec, version: str = "") -> ModelReview:
    """Return the review of a version: by default the challenger, or the champion where there is none.

    It is set beside the champion, or, if it is the champion, beside the one before. Raises LookupError with the remedy
    if there is no such version.
    """
    registry = platform.registry
    reviewed = under_review(registry, spec.name, version)
    held = registry.aliases(spec.name)
    against = held.get(CHAMPION if held.get(CHAMPION) != reviewed.version else PREVIOUS)
    other = registry.version(spec.name, against) if against and against != reviewed.version else None
    champion = None if other is None else Champion(other.version, registry.onnx_path(other))
    contest = contest_of(platform, spec, reviewed, champion)
    return ModelReview(platform, reviewed, other, contest)


def under_review(registry: Registry, name: str, version: str = "") -> ModelVersion:
    """Return the version asked for: by default the challenger, the champion, or the newest, whichever there is.

    Raises LookupError with the remedy if there is no such version.
    """
    held = registry.aliases(name)
    number = version or held.get(CHALLENGER) or held.get(CHAMPION)
    return registry.version(name, number) if number else registry.newest(name)


def _title(version: ModelVersion) -> str:
    told = f" ({', '.join(version.aliases)})" if version.aliases else ""
    return f"version {version.version}{told}"
