"""The sensor that looks at a version on trial every minute and starts its next step, or its end.

A version's way into service: shadow, canary, champion, those that its spec asks for. What is seen of it and how it is
judged: `assets.trial_watch`. What the sensor starts: `assets.rollout_job`. Who must approve: `assets.approved_steps`.
"""

from collections.abc import Iterator

import dagster as dg

from assets.approved_steps import approved, waiting
from assets.once import tried
from assets.plan_events import note_plans
from assets.resources import Platform
from assets.rollout import Step, next_action
from assets.rollout_job import run_config
from assets.trial_watch import Trial, TrialLog, judge, keep, trial_of
from checks.canary import CanaryVerdict
from ml.spec import ModelSpec
from serving.replicas import Replicas

LOOK_SECONDS = 60
TAG = "headwater/trial"
Looked = Iterator[dg.RunRequest | dg.SkipReason]


def trial_sensor(spec: ModelSpec, job: dg.JobDefinition) -> dg.SensorDefinition:
    """Return the sensor that judges a model's shadow or canary and starts `job` once it is decided.

    At most one run at a time, and at most three that fail by themselves, or ten that are killed: the run key is
    version, decision and try.
    """
    log = TrialLog()

    @dg.sensor(
        name=f"{spec.name}_trial_sensor",
        job=job,
        minimum_interval_seconds=LOOK_SECONDS,
        description=f"Judges a shadow or canary of {spec.name} against the champion; brings it on, or ends it.",
    )
    def on_trial(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> Looked:
        note_plans(platform, spec)
        if trouble := _unreachable(platform):
            yield dg.SkipReason(f"nothing of {spec.name} is judged: {trouble}")
            return
        trial = trial_of(platform, spec.name)
        if trial is None:
            yield _approved_since(context.instance, platform, spec)
            return
        verdict = judge(platform, spec, trial, log)
        if verdict.decision == "continue":
            yield dg.SkipReason(f"{trial.variant} {trial.version}: {verdict.outcome.summary}"[:1000])
            return
        keep(platform, spec, trial, verdict)
        yield _next(context.instance, platform, spec, trial, verdict)

    return on_trial


def _next(
    instance: dg.DagsterInstance, platform: Platform, spec: ModelSpec, trial: Trial, verdict: CanaryVerdict
) -> dg.RunRequest | dg.SkipReason:
    """Return the run that does what was decided, or why there is none."""
    action = next_action(spec, trial.variant) if verdict.decision == "promote" else "end"
    why, by = verdict.outcome.summary[:500], f"{trial.variant} judge"
    if action != "end" and (wait := waiting(platform, spec, trial.version, action, why)):
        return dg.SkipReason(wait)
    step = Step(action, trial.version, spec.serving.canary_share, by, why, trial.begin.revision)
    return _start(instance, spec, step, trial.begin.revision)


def _approved_since(instance: dg.DagsterInstance, platform: Platform, spec: ModelSpec) -> dg.RunRequest | dg.SkipReason:
    """Return the run of a first step that waited for a person and was approved, or that there is none."""
    found = approved(platform, spec)
    if found is None:
        return dg.SkipReason(f"no version of {spec.name} is on trial")
    version, action, who = found
    step = Step(action, version, spec.serving.canary_share, who, "approved")
    return _start(instance, spec, step, 0)


def _start(instance: dg.DagsterInstance, spec: ModelSpec, step: Step, revision: int) -> dg.RunRequest | dg.SkipReason:
    """Return the run of a step, unless it is under way or failed too often."""
    name = f"{spec.name}:{step.version}:{revision}:{step.action}"
    state = tried(instance, TAG, name)
    if state.under_way or state.done:
        return dg.SkipReason(f"{step.action} of version {step.version} of {spec.name} is under way")
    if state.given_up:
        return dg.SkipReason(f"{step.action} of version {step.version} of {spec.name} {state.given_up}")
    key = f"{name}:{state.in_vain}"
    return dg.RunRequest(key, run_config(spec.name, step), {TAG: name, "headwater/reason": step.why[:250]})


def _unreachable(platform: Platform) -> str:
    control = Replicas(platform.settings)
    try:
        control.require_live()
    except OSError as error:
        return str(error)
    finally:
        control.close()
    return ""
