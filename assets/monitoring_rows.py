"""Which rows the monitoring judges: answers with labels by window, held-out answers, what a version learned from.

Not here: judging them (`checks/monitoring_*.py`) and the assets (assets/outcomes.py, assets/performance.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property

import polars as pl

from assets.drift import compared_columns, drift_bounds
from assets.drift_windows import training_window
from assets.resources import Platform
from checks.drift_evidence import Reference
from checks.drift_windows import Part, Window
from checks.monitoring_drift import KIND
from checks.monitoring_window import LEARNED_FROM, Answers, HeldOut
from ml.held_out import TEST_PREDICTIONS
from ml.onnx_file import PROOF_SHA256
from ml.spec import ModelSpec, column_of
from ml.split import refit_cut
from ml.task import task_of
from ml.trained_spec import trained_spec
from ml.windows import Span, spans_between
from serving.model_repository import ModelRepository

AGE = "__age"


def outcomes_table(spec: ModelSpec) -> str:
    """Return the table of answers with labels."""
    return f"{spec.name}/outcomes"


def performance_table(spec: ModelSpec) -> str:
    """Return the table of metrics by window."""
    return f"{spec.name}/performance"


def months_of(span: Span) -> list[str]:
    """Return the months (UTC) that a window lies in, in order."""
    day, found = span.start, dict[str, None]()
    while day < span.end:
        found[f"{day:%Y-%m}"] = None
        day += timedelta(days=1)
    return list(found)


def spans(platform: Platform, spec: ModelSpec) -> list[Span]:
    """Return the windows from the first to the last mature answer, in order; none if there is no answer."""
    if not platform.lake.exists(outcomes_table(spec)):
        return []
    times = platform.lake.read(outcomes_table(spec)).select(low=pl.col("time").min(), high=pl.col("time").max())
    low, high = times.collect().row(0)
    return [] if low is None else spans_between(low, high, spec.monitoring.window_days)


def outcome_rows(platform: Platform, spec: ModelSpec, span: Span) -> pl.DataFrame:
    """Return the mature answers of a window, in order of time; the label is called `label`, a number."""
    rows = platform.lake.read(outcomes_table(spec), partitions=months_of(span)).filter(_asked_in(span))
    label = pl.col(spec.outcome.label).cast(pl.Float64).alias("label")
    return rows.with_columns(label).collect().sort("time", "prediction_id")


def with_ages(platform: Platform, spec: ModelSpec, span: Span, rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with a column <view>__age: seconds from the event of the row that was served to the answer."""
    log = platform.lake.read(f"{spec.name}/predictions").filter(_asked_in(span), pl.col("answered"))
    events = [c for c in log.collect_schema().names() if c.endswith("__event_timestamp")]
    ages = [
        ((pl.col("time") - pl.col(c)).dt.total_microseconds() / 1e6).alias(c.removesuffix("__event_timestamp") + AGE)
        for c in events
    ]
    return rows.join(
        log.select("prediction_id", *ages).collect(), on="prediction_id", how="left", maintain_order="left"
    )


def champion_version(rows: pl.DataFrame) -> str | None:
    """Return the version that answered most rows as champion, None if none did."""
    counted = rows.filter(pl.col("variant") == "champion").group_by("model_version").len()
    return None if counted.is_empty() else str(counted.sort("len", "model_version")["model_version"][-1])


@dataclass(frozen=True)
class Seen:
    """A window of answers as the checks see it: all parts read on first use."""

    platform: Platform
    spec: ModelSpec
    span: Span
    version: str
    answers: Answers

    @cached_property
    def held(self) -> HeldOut:
        """The version's answers to its held-out rows, as kept with its MLflow run."""
        registry = self.platform.registry
        path = registry.artifact(registry.version(self.spec.name, self.version), TEST_PREDICTIONS)
        rows = pl.read_parquet(path)
        answer = pl.col(task_of(self.spec).output).alias("answer")
        return HeldOut(rows.select(answer, "label", time=pl.col("prediction_time")).drop_nulls())

    @cached_property
    def learned(self) -> Reference:
        """The rows that it learned from, the features that it was served with, and how far these may move."""
        registered = self.platform.registry.version(self.spec.name, self.version)
        table, number = f"{self.spec.name}/training_set", registered.training_set_version
        trained = trained_spec(self.spec, self.platform.lake.metadata(table, number))
        is_refit = PROOF_SHA256 in registered.tags
        interval = refit_cut(trained)["train"][0] if is_refit else trained.split.train
        window = training_window(self.platform, trained, number, interval, f"version {self.version} learned from")
        bounds = replace(drift_bounds(self.spec), share=self.spec.monitoring.max_drifted_share)
        return Reference(KIND, window, self._known(compared_columns(self.spec), window), bounds)

    @cached_property
    def watched(self) -> list[str]:
        """Columns in which a value may be new to it: features and request, seasonal ones too, but no times."""
        times = {entry.since for entry in self.spec.elapsed}
        features = [column_of(f) for f in self.spec.features if f not in times]
        asked = [field.name for field in self.spec.request if field.kind in ("numeric", "categorical")]
        return self._known([*features, *asked], self.learned.window)

    def _known(self, columns: Sequence[str], learned: Window) -> list[str]:
        names = learned.parts[0].read().collect_schema().names()
        return [column for column in columns if column in names and column in self._inputs]

    def given(self, columns: Sequence[str]) -> pl.LazyFrame:
        """Return what its answers were given, lazily: those answered without some view are left out."""
        ids = self.answers.whole.select("prediction_id").lazy()
        log = self.platform.lake.read(f"{self.spec.name}/predictions").filter(_asked_in(self.span), pl.col("answered"))
        rows = log.select("prediction_id", *columns).join(ids, on="prediction_id", how="semi").select(columns)
        # A text that was missing is "" in the log; training rows have null.
        texts = pl.col(pl.String)
        return rows.with_columns(pl.when(texts != "").then(texts).name.keep())

    @cached_property
    def served(self) -> Window:
        """The features that are compared, as its answers were given them."""
        table, key = f"{self.spec.name}/predictions", self.answers.content
        part = Part(table, self.span.name, key, lambda: self.given(self.learned.columns))
        return Window(f"{self.spec.name} {self.span.name}", (part,))

    @cached_property
    def _inputs(self) -> set[str]:
        plans = ModelRepository(self.platform.settings.serving_home).history(self.spec.name)
        arms = [arm for plan in reversed(plans) if (arm := plan.arm_of(self.version))]
        if not arms:
            raise LookupError(
                f"no deployed plan names version {self.version} of {self.spec.name}: its inputs are unknown"
            )
        return {wanted.column for wanted in arms[0].version.inputs}


def seen(platform: Platform, spec: ModelSpec, span: Span) -> Seen | None:
    """Return a window for judging, None if no champion answered in it."""
    rows = outcome_rows(platform, spec, span)
    version = champion_version(rows)
    if version is None:
        return None
    own = pl.col("model_version") == version
    before = outcome_rows(platform, spec, span.before(LEARNED_FROM)).filter(own)
    return Seen(platform, spec, span, version, Answers(span, version, rows.filter(own), before))


def promotions(platform: Platform, spec: ModelSpec) -> list[tuple[str, str]]:
    """Return when (ISO) which version became champion, oldest first."""
    found: list[tuple[str, str]] = []
    for plan in ModelRepository(platform.settings.serving_home).history(spec.name):
        if plan.change.at and (not found or found[-1][1] != plan.champion.version):
            found.append((plan.change.at, plan.champion.version))
    return found


def _asked_in(span: Span) -> pl.Expr:
    return pl.col("time").is_between(span.start, span.end, closed="left")
