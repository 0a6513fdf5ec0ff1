"""The sensor that looks at a canary every minute and starts its promotion or its end.

What it sees and how it judges: `assets.canary_watch`. What it starts: `assets.rollout_job`.
"""

from collections.abc import Iterator

import dagster as dg

from assets.canary_watch import Canary, CanaryLog, canary_of, judge, keep
from assets.resources import Platform
from assets.rollout import Action, Step
from assets.rollout_job import run_config
from checks.canary import CanaryVerdict
from ml.spec import ModelSpec
from serving.control import Control

LOOK_SECONDS = 60
TRIES = 3
TAG = "headwater/canary"
Looked = Iterator[dg.RunRequest | dg.SkipReason]


def canary_sensor(spec: ModelSpec, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Return the sensor that judges a model's canary and starts `job` once it is decided.

    At most one run at a time, and at most three that fail: the run key is canary, decision and try.
    """
    log = CanaryLog()

    @dg.sensor(
        name=f"{spec.name}_canary_sensor",
        job=job,
        minimum_interval_seconds=LOOK_SECONDS,
        description=f"Judges a canary of {spec.name} against the champion and promotes it or ends it.",
    )
    def on_canary(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> Looked:
        canary = canary_of(platform, spec.name)
        if canary is None:
            yield dg.SkipReason(f"no canary of {spec.name} serves")
            return
        if trouble := _unreachable(platform):
            yield dg.SkipReason(f"canary {canary.version} of {spec.name} is not judged: {trouble}")
            return
        verdict = judge(platform, spec, canary, log.rows(platform, canary))
        if verdict.decision == "continue":
            yield dg.SkipReason(f"canary {canary.version}: {verdict.outcome.summary}"[:1000])
            return
        keep(platform, spec, canary, verdict)
        yield _start(context.instance, spec, canary, verdict)

    return on_canary


def _start(
    instance: dg.DagsterInstance, spec: ModelSpec, canary: Canary, verdict: CanaryVerdict
) -> dg.RunRequest | dg.SkipReason:
    """Return the run that does what was decided, unless it is under way or failed too often."""
    name = f"{spec.name}:{canary.version}:{canary.begin.revision}:{verdict.decision}"
    statuses = [run.status for run in instance.get_runs(dg.RunsFilter(tags={TAG: name}))]
    failed = sum(status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED) for status in statuses)
    if failed < len(statuses):
        return dg.SkipReason(f"{verdict.decision} of canary {canary.version} of {spec.name} is under way")
    if failed >= TRIES:
        return dg.SkipReason(f"{verdict.decision} of canary {canary.version} of {spec.name} failed {failed} times")
    action: Action = "promote" if verdict.decision == "promote" else "end"
    step = Step(
        action,
        canary.version,
        by="canary judge",
        why=verdict.outcome.summary[:500],
        revision=canary.begin.revision,
    )
    return dg.RunRequest(
        f"{name}:{failed}", run_config(spec.name, step), {TAG: name, "headwater/reason": step.why[:250]}
    )


def _unreachable(platform: Platform) -> str:
    control = Control(platform.settings)
    try:
        control.require_live()
    except OSError as error:
        return str(error)
    finally:
        control.close()
    return ""
