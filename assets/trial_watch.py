"""A version on trial, as shadow or canary: since when, what the log says of it, and the judge's verdict on record.

Judging is in checks/canary.py, the sensor that asks in `assets.trial`.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import polars as pl

from assets.failures import one_line
from assets.resources import Platform
from assets.rollout import BY_DEPLOYMENT
from checks.canary import CHECK, CanaryVerdict, judge_canary, unjudged
from checks.canary_rows import Contestants, look
from checks.guard import GateClosed
from checks.promotion_evidence import markdown
from ml.serving_settings import CanaryBounds
from ml.spec import ModelSpec
from ml.verdicts import Verdict
from serving.log_reader import log_schema, read_new
from serving.model_repository import ModelRepository
from serving.plan import Plan, Variant
from serving.rollout import LEFT_SERVICE

LEAST_ROWS = 100
BEFORE = 5_000  # the champion's newest rows of before, with whose batches a canary's are compared, too


@dataclass(frozen=True)
class Trial:
    """A version on trial: the plan that serves, and the first of its kind, in which it began beside this champion."""

    plan: Plan
    begin: Plan
    variant: Literal["canary", "shadow"] = "canary"

    @property
    def who(self) -> Contestants:
        """The two that are compared."""
        champion = self.plan.champion
        return Contestants(self.version, champion.version, Path(champion.onnx), self.begin.revision, self.variant)

    @property
    def version(self) -> str:
        """The version on trial."""
        arm = self.plan.arm(self.variant)
        assert arm is not None
        return arm.version.version

    def hours(self, now: datetime) -> float:
        """How long it has served."""
        return (now - datetime.fromisoformat(self.begin.change.at)).total_seconds() / 3600


def trial_of(platform: Platform, name: str) -> Trial | None:
    """Return the canary that serves, or the shadow that the deployment put there; None if there is neither.

    A shadow that somebody else began is there to be looked at, and nobody judges it.
    """
    history = ModelRepository(platform.settings.serving_home).history(name)
    if not history:
        return None
    if history[-1].arm("canary") is not None:
        return Trial(history[-1], _begin(history, "canary"))
    if history[-1].arm("shadow") is not None:
        begin = _begin(history, "shadow")
        return Trial(history[-1], begin, "shadow") if begin.change.by == BY_DEPLOYMENT else None
    return None


def _begin(history: Sequence[Plan], variant: Variant) -> Plan:
    """Return the plan in which the trial began. A larger share, or another one beside it, is no new begin."""
    begin = history[-1]
    for plan in reversed(history):
        if _who(plan, variant) != _who(begin, variant):
            break
        begin = plan
    return begin


def _who(plan: Plan, variant: Variant) -> tuple[str, str]:
    arm = plan.arm(variant)
    return plan.champion.version, "" if arm is None else arm.version.version


class TrialLog:
    """The log's rows that concern a version on trial. Follows the log: each row is read once a process."""

    def __init__(self) -> None:
        self._cursor: dict[str, int] = {}
        self._of: tuple[str, int] = ("", 0)
        self._rows: pl.DataFrame | None = None

    def rows(self, platform: Platform, trial: Trial) -> pl.DataFrame:
        """Return the rows since the trial began, and the champion's last ones before."""
        plan = trial.plan
        of = (plan.model, trial.begin.revision)
        if self._of != of:
            self._cursor, self._of, self._rows = {}, of, None
        folder = platform.settings.serving_home / "predictions" / plan.model
        new, self._cursor = read_new(folder, log_schema(plan), self._cursor)
        rows = new if self._rows is None else pl.concat([self._rows, new], how="diagonal").sort("time")
        before = rows.filter((pl.col("revision") < of[1]) & (pl.col("model_version") == plan.champion.version))
        self._rows = pl.concat([before.tail(BEFORE), rows.filter(pl.col("revision") >= of[1])])
        return self._rows


def judge(platform: Platform, spec: ModelSpec, trial: Trial, log: TrialLog) -> CanaryVerdict:
    """Judge a version on trial by what is known now; one that cannot be judged ends by its deadline, too."""
    now, bounds = platform.clock.now(), bounds_of(spec, trial)
    try:
        outcomes, why_not = _outcomes(platform, spec)
        seen = look(spec, trial.who, log.rows(platform, trial), outcomes, now, why_not)
    except Exception as error:  # a damaged log, a table that cannot be read: it must not serve on for that
        return unjudged(bounds, one_line(error), trial.hours(now))
    return judge_canary(bounds, seen, trial.hours(now), _is_answer_to_staleness(platform, spec, trial))


def _is_answer_to_staleness(platform: Platform, spec: ModelSpec, trial: Trial) -> bool:
    """Whether the loop trained the version because the one that serves is stale."""
    trained = platform.loop_log.rows(spec.name).filter(event="trained", version=trial.version)
    return not trained.is_empty()


def bounds_of(spec: ModelSpec, trial: Trial) -> CanaryBounds:
    """Return by what it is judged: a shadow needs the rows that its spec gives it, and waits for no labels."""
    if trial.variant == "canary":
        return spec.canary
    rows = max(spec.serving.shadow_rows, LEAST_ROWS)
    return spec.canary.model_copy(update={"min_rows": rows, "min_labels": 0})


def keep(platform: Platform, spec: ModelSpec, trial: Trial, verdict: CanaryVerdict) -> None:
    """Record a decision once: in the audit table, and with picture and table with the version in MLflow.

    A version that broke a bound fails its promotion gate, too, so that nothing has it answer again by itself.
    """
    table, number, outcome = f"{spec.name}/model", int(trial.version), verdict.outcome
    about = {
        "revision": trial.begin.revision,
        "variant": trial.variant,
        "champion": trial.plan.champion.version,
        "faulty": outcome.evidence["faulty"],
    }
    newest = platform.verdicts.newest(table, number, "", CHECK)
    if newest is not None and {**newest.evidence, **about} == newest.evidence and newest.passed == outcome.passed:
        return
    evidence = {"summary": outcome.summary, **outcome.evidence, **about}
    verdicts = [Verdict(table, number, CHECK, outcome.passed, blocking=False, evidence=evidence, actor=CHECK)]
    if outcome.evidence["faulty"]:
        told = {"summary": f"as {trial.variant}: {outcome.summary}", LEFT_SERVICE: True}
        verdicts.append(Verdict(table, number, "promotion", False, evidence=told, actor=CHECK))
    platform.verdicts.record(verdicts)
    _show(platform, spec, trial, verdict)


def _show(platform: Platform, spec: ModelSpec, trial: Trial, verdict: CanaryVerdict) -> None:
    outcome = verdict.outcome
    try:
        version = platform.registry.version(spec.name, trial.version)
        with tempfile.TemporaryDirectory(prefix="headwater-canary-") as folder:
            text = (
                f"# {trial.variant.capitalize()} {trial.version}: {outcome.summary}\n\n"
                f"{markdown(outcome.table, tuple(outcome.table[0]))}\n"
            )
            Path(folder, f"{trial.variant}.md").write_text(text)
            if outcome.plot:
                Path(folder, f"{trial.variant}.png").write_bytes(outcome.plot)
            platform.registry.keep(version, Path(folder), trial.variant)
        platform.registry.tag(version, {trial.variant: outcome.summary})
    except Exception as error:  # as for the promotion gate: the lake's verdict counts, MLflow only shows it
        print(f"MLflow does not show the verdict on {trial.variant} {trial.version} of {spec.name}: {error}")


def _outcomes(platform: Platform, spec: ModelSpec) -> tuple[pl.DataFrame | None, str]:
    """Return the published outcomes, or why they may not be read."""
    name = spec.outcome.table
    try:
        version = platform.guard.admit_published(f"{spec.name}/canary", name)
        return platform.lake.read(f"published/{name}", version).collect(), ""
    except (GateClosed, LookupError) as error:
        return None, str(error)
