"""The sensor that trains a model anew when its signals ask for it, its schedule, and the job that they start.

When that is stands in `checks/retraining.py`. A decision is recorded before its run is asked for, and the run is asked
for again as long as none with the decision's key is under way or done: so a restart at any moment neither loses it nor
does it twice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets.bad_data import bad_data
from assets.once import Tried, tried
from assets.resources import Platform
from assets.sightings import past, sightings
from checks.required import required_checks
from checks.retraining import Decision, decide
from ml.fingerprint import json_hash
from ml.lake import WHOLE
from ml.loop_log import Event, LoopEvent
from ml.spec import ModelSpec
from ml.trained_spec import AS_OF
from ml.verdicts import Verdict
from serving.model_repository import ModelRepository

SENSOR_SECONDS = 30
PARTS = ("training_set", "model", "deployment")
TAG, REASON = "headwater/retraining", "headwater/reason"
WHY = "retraining_reason"  # tag of a version in MLflow
Asked = Iterator[dg.RunRequest | dg.SkipReason]


def retraining_job(spec: ModelSpec) -> UnresolvedAssetJobDefinition:
    """Return the job that makes a training set, a candidate, its gates and, if they pass, brings it on its way."""
    keys = [dg.AssetKey([spec.name, part]) for part in PARTS]
    return dg.define_asset_job(
        f"{spec.name}_retrain",
        selection=dg.AssetSelection.assets(*keys),
        description=f"Train {spec.name} on what is published, gate the candidate, bring it on its way if it passes.",
    )


def retraining_sensor(spec: ModelSpec, job: UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """Return the sensor that starts `job`, once a data version, with the reason on the run and in the audit trail."""

    @dg.sensor(
        name=f"{spec.name}_retraining_sensor",
        job=job,
        minimum_interval_seconds=SENSOR_SECONDS,
        description=(
            f"Trains {spec.name} anew when {', '.join(spec.retraining.signals)} ask for it: "
            f"{spec.retraining.breaches} of {spec.retraining.of} windows, a cooldown, a budget; bad data never do."
        ),
    )
    def on_signals(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> Asked:
        yield _asked(context.instance, platform, spec)

    return on_signals


def retraining_schedules(spec: ModelSpec, job: UnresolvedAssetJobDefinition) -> list[dg.ScheduleDefinition]:
    """Return the schedule that starts `job` whatever the signals say, if the spec has one.

    Cooldown, budget and bad data hold it back as they do the sensor, which takes up again what a restart broke off.
    """
    if not spec.retraining.schedule:
        return []

    @dg.schedule(
        name=f"{spec.name}_retraining_schedule",
        job=job,
        cron_schedule=spec.retraining.schedule,
        execution_timezone="UTC",
        description=f"Trains {spec.name} anew if something that it reads was published since it was last trained so.",
    )
    def on_time(context: dg.ScheduleEvaluationContext, platform: dg.ResourceParam[Platform]) -> Asked:
        yield _asked(context.instance, platform, spec, _published(platform, spec))

    return [on_time]


def _published(platform: Platform, spec: ModelSpec) -> str:
    """Return a hash of the versions of what a training set would be made from."""
    return json_hash({name: platform.publications.require(name).version for name in (*spec.views, spec.outcome.table)})


def _asked(
    instance: dg.DagsterInstance, platform: Platform, spec: ModelSpec, scheduled: str = ""
) -> dg.RunRequest | dg.SkipReason:
    """Return how the retraining goes on that was asked for, else what is decided now."""
    asked = unfinished(instance, platform, spec)
    if asked is not None:
        return asked
    decision = look(platform, spec, scheduled)
    if decision is None:
        return dg.SkipReason(f"nothing of {spec.name} is deployed: there is nothing to keep up")
    record(platform, spec, decision)
    again = unfinished(instance, platform, spec) if decision.action == "retrain" else None
    return again or dg.SkipReason(decision.reason[:1000])


def look(platform: Platform, spec: ModelSpec, scheduled: str = "") -> Decision | None:
    """Return what is to be done by what is known now, None if nothing is deployed.

    `scheduled` is a hash of what there is to learn from, if the schedule asks.
    """
    plan = ModelRepository(platform.settings.serving_home).deployed(spec.name)
    if plan is None:
        return None
    champion, now = plan.champion.version, platform.clock.now()
    seen = sightings(platform, spec, champion)
    decision = decide(spec.retraining, champion, seen, past(platform, spec), now, scheduled=scheduled)
    if decision.action == "none":  # what is held in quarantine need not be asked for
        return decision
    return decide(spec.retraining, champion, seen, past(platform, spec), now, bad_data(platform, spec), scheduled)


def record(platform: Platform, spec: ModelSpec, decision: Decision) -> None:
    """Write down a retraining, or that one was due and held back, once for its data."""
    if decision.action == "none":
        return
    evidence = {"windows": [f"{s.signal} {s.start:%Y-%m-%d}: {s.summary}" for s in decision.raised]}
    event: Event = "retrain" if decision.action == "retrain" else "held"
    platform.loop_log.record(LoopEvent(spec.name, event, decision.key, decision.reason, evidence=evidence))


def unfinished(
    instance: dg.DagsterInstance, platform: Platform, spec: ModelSpec
) -> dg.RunRequest | dg.SkipReason | None:
    """Return how the newest retraining that was asked for goes on, None if there is none, or it has ended.

    What ended is written down: what the gates said of its version, or that it failed for good.
    """
    asked = platform.loop_log.rows(spec.name).filter(event="retrain").tail(1)
    if asked.is_empty():
        return None
    (row,) = asked.iter_rows(named=True)
    work = Retraining(spec, row["key"], row["reason"], row["at"])
    if work.ended(platform):
        return None
    state = tried(instance, TAG, work.name)
    if state.under_way:
        return dg.SkipReason(f"a retraining of {spec.name} is under way: {work.reason}"[:1000])
    if state.done or work.refused(platform) or state.given_up:
        work.end(platform, state)
        return None
    return work.run(platform, state.in_vain)


@dataclass(frozen=True)
class Retraining:
    """A retraining that was asked for at an instant, for the data that `key` names."""

    spec: ModelSpec
    key: str
    reason: str
    at: datetime

    @property
    def name(self) -> str:
        """What its runs bear in their tag."""
        return f"{self.spec.name}:{self.key}"

    @property
    def as_of(self) -> datetime:
        """The midnight up to which it learns and compares: every label of before must have come."""
        newest = self.at - timedelta(hours=self.spec.outcome.label_hours)
        return newest.replace(hour=0, minute=0, second=0, microsecond=0)

    def ended(self, platform: Platform) -> bool:
        """Whether its end is on record."""
        rows = platform.loop_log.rows(self.spec.name).filter(key=self.key)
        return not rows.filter(pl.col("event").is_in(["trained", "refused", "failed"])).is_empty()

    def version(self, platform: Platform) -> str:
        """Return the version that it registered, "" as long as there is none."""
        try:
            newest = platform.registry.newest(self.spec.name)
            metadata = platform.lake.metadata(f"{self.spec.name}/training_set", newest.training_set_version)
        except LookupError:
            return ""
        return newest.version if metadata.get(AS_OF) == self.as_of.isoformat() else ""

    def verdicts(self, platform: Platform, version: str) -> list[Verdict]:
        """Return what the gates said of a version, those that have."""
        return _verdicts(platform, f"{self.spec.name}/model", int(version))

    def refused(self, platform: Platform) -> str:
        """Return why the gates refused its version, or its training set, "" if they did not, or have not judged."""
        version = self.version(platform)
        verdicts = self.verdicts(platform, version) if version else self._of_training_set(platform)
        return "; ".join(f"{v.check}: {v.evidence.get('summary', '')}" for v in verdicts if not v.passed)

    def end(self, platform: Platform, state: Tried) -> None:
        """Write down how it ended, and on its version why it was trained."""
        version, why_not = self.version(platform), self.refused(platform)
        if version:
            registered = platform.registry.version(self.spec.name, version)
            platform.registry.tag(registered, {WHY: self.reason, "retraining": self.key})
        if why_not:
            event = LoopEvent(self.spec.name, "refused", self.key, why_not, version)
        elif state.given_up:
            why, last = f"given up: it {state.given_up}", (state.failed or state.killed)[0]
            event = LoopEvent(self.spec.name, "failed", self.key, why, version, run_id=last)
        else:
            event = LoopEvent(self.spec.name, "trained", self.key, self.reason, version)
        platform.loop_log.record(event)

    def run(self, platform: Platform, in_vain: int) -> dg.RunRequest:
        """Return the run that does what is not done yet: all of it, or from the gates on, or the deployment alone."""
        training_set, model, deployment = (dg.AssetKey([self.spec.name, p]) for p in PARTS)
        version, table = self.version(platform), f"{self.spec.name}/model"
        missing = (
            set(required_checks(table)) - {v.check for v in self.verdicts(platform, version)} if version else set()
        )
        return dg.RunRequest(
            run_key=f"{self.name}:{in_vain}",
            run_config={} if version else run_config(self.spec.name, self.as_of),
            tags={TAG: self.name, REASON: self.reason[:250]},
            asset_selection=[deployment] if version else [training_set, model, deployment],
            asset_check_keys=[dg.AssetCheckKey(model, check) for check in missing] if version else None,
        )

    def _of_training_set(self, platform: Platform) -> list[Verdict]:
        table = f"{self.spec.name}/training_set"
        newest = platform.lake.history(table)[:1] if platform.lake.exists(table) else []
        if not newest or newest[0]["metadata"].get(AS_OF) != self.as_of.isoformat():
            return []
        return _verdicts(platform, table, newest[0]["version"])


def _verdicts(platform: Platform, table: str, version: int) -> list[Verdict]:
    found = (platform.verdicts.newest(table, version, WHOLE, check) for check in required_checks(table))
    return [verdict for verdict in found if verdict is not None]


def run_config(name: str, as_of: datetime) -> dict[str, Any]:
    """Return the configuration of a run that makes a model's training set as of an instant."""
    return {"ops": {f"{name}__training_set": {"config": {"as_of": as_of.isoformat()}}}}
