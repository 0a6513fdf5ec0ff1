"""A canary that serves: since when, what the log says of it, and the judge's verdict on record.

Judging is in checks/canary.py, the sensor that asks in `assets.canary`.
"""

import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from assets.resources import Platform
from checks.canary import CHECK, CanaryVerdict, judge_canary
from checks.canary_rows import Contestants, look
from checks.guard import GateClosed
from checks.promotion_evidence import markdown
from ml.spec import ModelSpec
from ml.verdicts import Verdict
from serving.log_reader import log_schema, read_new
from serving.model_repository import ModelRepository
from serving.plan import Plan
from serving.rollout import LEFT_SERVICE

BEFORE = 5_000  # the champion's newest rows of before, with whose batches a canary's are compared, too


@dataclass(frozen=True)
class Canary:
    """A canary at work: the plan that serves, and the first of its kind, in which it began beside this champion."""

    plan: Plan
    begin: Plan

    @property
    def who(self) -> Contestants:
        """The two that are compared."""
        champion = self.plan.champion
        return Contestants(self.version, champion.version, Path(champion.onnx), self.begin.revision)

    @property
    def version(self) -> str:
        """The canary's version."""
        arm = self.plan.arm("canary")
        assert arm is not None
        return arm.version.version

    def hours(self, now: datetime) -> float:
        """How long it has served."""
        return (now - datetime.fromisoformat(self.begin.change.at)).total_seconds() / 3600


def canary_of(platform: Platform, name: str) -> Canary | None:
    """Return the canary that serves, None if there is none. A larger share, or a shadow beside it, is no new begin."""
    history = ModelRepository(platform.settings.serving_home).history(name)
    if not history or history[-1].arm("canary") is None:
        return None
    canary = Canary(history[-1], history[-1])
    for plan in reversed(history):
        arm = plan.arm("canary")
        if arm is None or (arm.version.version, plan.champion.version) != (
            canary.version,
            canary.plan.champion.version,
        ):
            break
        canary = Canary(canary.plan, plan)
    return canary


class CanaryLog:
    """The log's rows that concern a canary. Follows the log: each row is read once a process."""

    def __init__(self) -> None:
        self._cursor: dict[str, int] = {}
        self._of: tuple[str, int] = ("", 0)
        self._rows: pl.DataFrame | None = None

    def rows(self, platform: Platform, canary: Canary) -> pl.DataFrame:
        """Return the rows since the canary began, and the champion's last ones before."""
        plan = canary.plan
        of = (plan.model, canary.begin.revision)
        if self._of != of:
            self._cursor, self._of, self._rows = {}, of, None
        folder = platform.settings.serving_home / "predictions" / plan.model
        new, self._cursor = read_new(folder, log_schema(plan), self._cursor)
        rows = new if self._rows is None else pl.concat([self._rows, new], how="diagonal").sort("time")
        before = rows.filter((pl.col("revision") < of[1]) & (pl.col("model_version") == plan.champion.version))
        self._rows = pl.concat([before.tail(BEFORE), rows.filter(pl.col("revision") >= of[1])])
        return self._rows


def judge(platform: Platform, spec: ModelSpec, canary: Canary, log: pl.DataFrame) -> CanaryVerdict:
    """Judge a canary by what is known now."""
    now = platform.clock.now()
    outcomes, why_not = _outcomes(platform, spec)
    return judge_canary(spec.canary, look(spec, canary.who, log, outcomes, now, why_not), canary.hours(now))


def keep(platform: Platform, spec: ModelSpec, canary: Canary, verdict: CanaryVerdict) -> None:
    """Record a decision once: in the audit table, and with picture and table with the version in MLflow.

    A canary that broke a bound fails its promotion gate, too, so that nothing has it answer again by itself.
    """
    table, number, outcome = f"{spec.name}/model", int(canary.version), verdict.outcome
    about = {
        "revision": canary.begin.revision,
        "champion": canary.plan.champion.version,
        "faulty": outcome.evidence["faulty"],
    }
    newest = platform.verdicts.newest(table, number, "", CHECK)
    if newest is not None and {**newest.evidence, **about} == newest.evidence and newest.passed == outcome.passed:
        return
    evidence = {"summary": outcome.summary, **outcome.evidence, **about}
    verdicts = [Verdict(table, number, CHECK, outcome.passed, blocking=False, evidence=evidence, actor=CHECK)]
    if outcome.evidence["faulty"]:
        told = {"summary": f"as canary: {outcome.summary}", LEFT_SERVICE: True}
        verdicts.append(Verdict(table, number, "promotion", False, evidence=told, actor=CHECK))
    platform.verdicts.record(verdicts)
    _show(platform, spec, canary, verdict)


def _show(platform: Platform, spec: ModelSpec, canary: Canary, verdict: CanaryVerdict) -> None:
    outcome = verdict.outcome
    try:
        version = platform.registry.version(spec.name, canary.version)
        with tempfile.TemporaryDirectory(prefix="headwater-canary-") as folder:
            text = (
                f"# Canary {canary.version}: {outcome.summary}\n\n{markdown(outcome.table, tuple(outcome.table[0]))}\n"
            )
            Path(folder, "canary.md").write_text(text)
            Path(folder, "canary.png").write_bytes(outcome.plot or b"")
            platform.registry.keep(version, Path(folder), "canary")
        platform.registry.tag(version, {"canary": outcome.summary})
    except Exception as error:  # as for the promotion gate: the lake's verdict counts, MLflow only shows it
        print(f"MLflow does not show the verdict on canary {canary.version} of {spec.name}: {error}")


def _outcomes(platform: Platform, spec: ModelSpec) -> tuple[pl.DataFrame | None, str]:
    """Return the published outcomes, or why they may not be read."""
    name = spec.outcome.table
    try:
        version = platform.guard.admit_published(f"{spec.name}/canary", name)
        return platform.lake.read(f"published/{name}", version).collect(), ""
    except (GateClosed, LookupError) as error:
        return None, str(error)
