"""What a drift review shows: a published month, and a model's newest rows, beside what drift checks compare them with.

Windows, profiles, distances and bounds are those of `assets/drift.py` and `checks/drift.py`, and so the numbers are
theirs; nothing is judged or recorded here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assets.drift import drift_bounds, model_windows, month_references, watched_columns
from assets.drift_windows import SERVING_DRIFT, PublishedMonths, champion_of
from assets.reports import address_of
from assets.resources import Platform
from checks.drift import CHECK
from checks.drift_evidence import Reference
from checks.drift_plot import plot
from checks.drift_profile import Profile
from checks.drift_windows import Profiles, Window
from ml.lake import WHOLE
from ml.models import MODELS
from ml.spec import ModelSpec
from ml.verdicts import SUMMARY

_MOVES: Mapping[str, Any] = {
    "view": pl.String,
    "month": pl.String,
    "column": pl.String,
    "reference": pl.String,
    "distance": pl.Float64,
    "bound": pl.Float64,
    "drifted": pl.Boolean,
    "cause": pl.String,
}


@dataclass(frozen=True)
class Pair:
    """A column of a window and what it is compared with."""

    column: str
    title: str
    current: Window
    reference: Window
    profiles: Profiles

    @property
    def sides(self) -> tuple[Profile, Profile]:
        """The column's profiles: in the reference, and in the current window."""
        return self.profiles.of(self.reference, self.column), self.profiles.of(self.current, self.column)

    def picture(self) -> bytes:
        """Return both distributions as a PNG, as the drift check's page draws them."""
        return plot(self.column, self.title, (self.reference.name, self.current.name), *self.sides)


@dataclass(frozen=True)
class MonthDrift:
    """The drift of a model's world: what the checks said of every month, and one month to look at.

    `moves` has a row a view, month, column and reference, by the newest `feature_drift` verdict on what is published.
    """

    platform: Platform
    spec: ModelSpec
    month: str
    moves: pl.DataFrame

    def of_month(self) -> pl.DataFrame:
        """Return the month's moves, the greatest distance against its bound first."""
        own = self.moves.filter(pl.col("month") == self.month)
        return own.sort(pl.col("distance") / pl.col("bound"), "view", "column", descending=[True, False, False])

    def pictures(self, count: int) -> list[bytes]:
        """Return a PNG of each of the `count` columns that moved most in the month."""
        worst = self.of_month().unique(["view", "column"], keep="first", maintain_order=True).head(count)
        return [self.pair(row).picture() for row in worst.iter_rows(named=True)]

    def pages(self) -> pl.DataFrame:
        """Return the pages that the checks wrote on a breach in the month, and where `make ui` serves them."""
        settings = self.platform.settings
        found = [page for view in self.spec.views for page in self._pages(view)]
        return pl.DataFrame(
            {"page": [page.name for page in found], "address": [address_of(settings, page) for page in found]},
            schema={"page": pl.String, "address": pl.String},
        )

    def learned(self, count: int) -> list[bytes]:
        """Return a PNG of each of `count` columns: the champion's newest rows beside those that it learned from."""
        champion = champion_of(self.platform, self.spec)
        if champion is None:
            return []
        version = self.platform.registry.version(self.spec.name, champion[0])
        served, reference = model_windows(self.platform, self.spec, version)
        verdict = self.platform.verdicts.newest(f"{self.spec.name}/model", int(version.version), WHOLE, SERVING_DRIFT)
        against: Mapping[str, Any] = verdict.evidence.get("references", {}) if verdict else {}
        distances: Mapping[str, float] = against.get(reference.kind, {"distances": {}})["distances"]
        worst = sorted(distances.items(), key=lambda item: -item[1])[:count]
        profiles = Profiles(self.platform.settings.profiles)
        return [
            Pair(column, f"distance {far:.2f}", served, reference.window, profiles).picture() for column, far in worst
        ]

    def weeks(self) -> pl.DataFrame:
        """Return what the checks said of each week of answers, newest first; no rows where nobody has asked enough."""
        rows = self.platform.verdicts.rows(f"{self.spec.name}/performance")
        newest = rows.unique(["partition", "check"], keep="last", maintain_order=True)
        return newest.select(pl.col("partition").alias("week"), "check", "passed", SUMMARY).sort(
            "week", "check", descending=[True, False]
        )

    def pair(self, row: Mapping[str, Any]) -> Pair:
        """Return what a row of `of_month` compares."""
        months = _published(self.platform, row["view"])
        references = month_references(self.platform, months, row["view"], MODELS, self.month)
        window = _of_kind(references, row["reference"]).window
        title = f"{row['view']}: distance {row['distance']:.2f}, bound {row['bound']:g}"
        profiles = Profiles(self.platform.settings.profiles)
        return Pair(row["column"], title, months.window(self.month), window, profiles)

    def _pages(self, view: str) -> list[Path]:
        version = self.platform.publications.require(view).version
        page = self.platform.settings.reports / "drift" / f"{view}-{self.month}-v{version}.html"
        return [page] if page.exists() else []


def month_drift(platform: Platform, spec: ModelSpec, month: str = "") -> MonthDrift:
    """Return the drift of what a model reads; `month` is the newest that was judged if it is not given.

    Raises LookupError naming the months that were judged if that one was not.
    """
    moves = pl.DataFrame(list(_moves(platform, spec)), schema=_MOVES)
    judged = moves["month"].unique().sort().to_list()
    if not judged:
        raise LookupError(
            f"no month of what {spec.name} reads has been judged by {CHECK!r}: materialize published/{spec.views[0]}"
        )
    if month and month not in judged:
        raise LookupError(
            f"no verdict of {CHECK!r} on {month!r} of what {spec.name} reads; judged: {', '.join(judged)}"
        )
    return MonthDrift(platform, spec, month or judged[-1], moves)


def _moves(platform: Platform, spec: ModelSpec) -> Iterator[dict[str, Any]]:
    bound = drift_bounds(spec).distance
    for view in spec.views:
        version, watched = platform.publications.require(view).version, set(watched_columns(view, [spec]))
        newest = {
            verdict.partition: verdict
            for verdict, _ in platform.verdicts.newest_verdicts(f"published/{view}")
            if verdict.check == CHECK and verdict.version <= version
        }
        for month, verdict in sorted(newest.items()):
            for kind, told in verdict.evidence.get("references", {}).items():
                for column in watched & told["distances"].keys():
                    cause = told["causes"].get(column, "")
                    row = {"view": view, "month": month, "column": column, "reference": kind}
                    yield {
                        **row,
                        "distance": told["distances"][column],
                        "bound": bound,
                        "drifted": bool(cause),
                        "cause": cause,
                    }


def _published(platform: Platform, view: str) -> PublishedMonths:
    return PublishedMonths(platform, view, platform.publications.require(view).version)


def _of_kind(references: Sequence[Reference], kind: str) -> Reference:
    for reference in references:
        if reference.kind == kind:
            return reference
    raise LookupError(f"no reference {kind!r} any more; run the check {CHECK!r} again")
