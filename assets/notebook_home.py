"""What notebooks import, as `from headwater import home`: the home, read and never written.

Tables and their versions, features as of a moment, where columns come from, verdicts. Reviews of a month or a model
are in `notebook_drift` and `notebook_review`. Not here: executing notebooks (`notebook_run`).
"""

import warnings
from collections.abc import Sequence
from contextlib import chdir
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from assets.built_columns import built_columns
from assets.resources import Platform
from checks.notebook import NotebookLake
from ml.feature_views import FeatureView
from ml.lake import Lake
from ml.models import model_named
from ml.read_only_lake import ReadOnlyLake
from ml.settings import Settings
from ml.sources import SOURCES
from ml.verdicts import SUMMARY

if TYPE_CHECKING:
    from assets.notebook_drift import MonthDrift
    from assets.notebook_review import ModelReview

_INSTANT = pl.Datetime("us", "UTC")


class ReadPlatform(Platform):
    """The parts of a home with a lake that refuses every write: verdicts and publications cannot be given either."""

    @cached_property
    def lake(self) -> Lake:
        """All Delta tables, to be read."""
        return ReadOnlyLake(self.settings.lake, self.settings.locks)


class Home:
    """All that a notebook may read. Cheap to make; parts are opened on first use."""

    def __init__(self, platform: Platform) -> None:
        """Take the parts. Raises LookupError with the remedy if nothing has landed there yet."""
        self.platform = platform
        if not platform.lake.tables():
            raise LookupError(
                f"the lake {platform.lake.root} is empty: run make demo, or name a home in which it ran by "
                "HEADWATER_HOME"
            )

    @property
    def now(self) -> datetime:
        """The platform's instant, real or replayed, in UTC."""
        return self.platform.clock.now()

    def tables(self) -> pl.DataFrame:
        """Return a row a table: its stage and name, how many versions changed its rows, the newest and its time."""
        lake = self.platform.lake
        rows = []
        for table in lake.tables():
            history = lake.history(table)
            names = {partition for commit in history for partition in commit["partitions"]}
            written = datetime.fromtimestamp(history[0]["timestamp"] / 1000, UTC)
            rows.append(
                {
                    "table": table,
                    "versions": len(history),
                    "newest": history[0]["version"],
                    "written": written,
                    "partitions": len(names - {""}),
                }
            )
        return pl.DataFrame(rows)

    def versions(self, table: str) -> pl.DataFrame:
        """Return a row a version of a table, newest first: when it was written and which partitions it replaced."""
        history = self.platform.lake.history(table)
        return pl.DataFrame(
            {
                "version": [commit["version"] for commit in history],
                "written": [datetime.fromtimestamp(commit["timestamp"] / 1000, UTC) for commit in history],
                "partitions": [", ".join(commit["partitions"]) for commit in history],
            }
        )

    def read(self, table: str, version: int | None = None, partitions: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return a table as of `version` (default: newest; of published tables, what is published), lazily.

        Warns (UncheckedDataWarning) where rows have not passed their checks. Raises LookupError with the remedy if the
        table or the version is missing.
        """
        return NotebookLake(self.platform.guard).read(table, version, partitions)

    def view(self, name: str) -> FeatureView:
        """Return a feature view as dbt declares it. Raises LookupError naming those there are."""
        views = {view.name: view for view in self.platform.feature_views}
        if name not in views:
            raise LookupError(f"no feature view {name!r}; there are: {', '.join(views)}")
        return views[name]

    def as_of(self, rows: pl.DataFrame, features: Sequence[str]) -> pl.DataFrame:
        """Return `rows` with features (view:feature) as they were known at each row's `event_timestamp`.

        The same join as training's, through Feast: what became known later, a correction too, does not count, and what
        is older than the view's ttl is null. `rows` has the views' join keys and `event_timestamp` (UTC). Raises
        LookupError with the remedy if nothing is published of a view.
        """
        from ml.feature_store import historical_features

        views = dict.fromkeys(reference.split(":")[0] for reference in features)
        versions = {name: self.platform.publications.require(name).version for name in views}
        for name, version in versions.items():
            self.read(f"published/{name}", version)  # warns
        asked = rows.with_columns(pl.col("event_timestamp").cast(_INSTANT))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Feast's own
            return historical_features(self.platform.feature_store(versions), asked, features)

    def columns_of(self, table: str) -> pl.DataFrame:
        """Return where the columns of a dbt model (features/x, staging/x) come from, by the SQL that built it last."""
        graph = built_columns(self.platform, SOURCES)
        if table not in graph.made:
            known = ", ".join(graph.made)
            raise LookupError(f"{table!r}: {graph.failed.get(table, f'dbt builds no such model; it builds {known}')}")
        told = [(name, graph.parents((table, name)), graph.raw_columns((table, name))) for name in graph.columns[table]]
        return pl.DataFrame(
            {
                "column": [name for name, _, _ in told],
                "made from": [[".".join(c) for c in parents] for _, parents, _ in told],
                "raw columns": [[".".join(c) for c in raw] for _, _, raw in told],
            },
            schema={"column": pl.String, "made from": pl.List(pl.String), "raw columns": pl.List(pl.String)},
        )

    def verdicts(self, table: str, check: str | None = None) -> pl.DataFrame:
        """Return what checks said of a table, oldest first: the audit table's rows, with each one's summary."""
        rows = self.platform.verdicts.rows(table)
        if check is not None:
            rows = rows.filter(pl.col("check") == check)
        return rows.select("version", "partition", "check", "passed", "blocking", SUMMARY, "run_id", "at", "evidence")

    def drift(self, model: str, month: str = "") -> "MonthDrift":
        """Return how a published month (default: the newest) of the views that a model reads has moved."""
        from assets.notebook_drift import month_drift

        return month_drift(self.platform, model_named(model), month)

    def review(self, model: str, version: str = "") -> "ModelReview":
        """Return a version of a model beside the one that it would replace, on its held-out rows.

        Default: the challenger, or the champion if there is none. Raises LookupError if there is no such version.
        """
        from assets.notebook_review import model_review

        return model_review(self.platform, model_named(model), version)


def open_home(root: Path) -> Home:
    """Return the home that the environment names, for a notebook somewhere in the repository at `root`.

    Relative settings count from `root`, as in every other command, wherever the notebook was started.
    """
    with chdir(root):
        return Home(ReadPlatform(Settings()))
