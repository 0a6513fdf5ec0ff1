"""`<model>_rollout`: a step of the rollout as a Dagster job, for the UI and for the canary's sensor.

The steps stand in `assets.rollout`; what they did shows on `<model>/deployment`.
"""

from enum import Enum
from typing import Any

import dagster as dg

from assets.mirror import metadata_of
from assets.resources import Platform
from assets.rollout import ACTIONS, Step, take
from checks.canary import CHECK
from checks.outcome import Outcome
from ml.lake import WHOLE
from ml.spec import ModelSpec
from serving.plan import Plan
from serving.rollout_status import told

RolloutAction = Enum("RolloutAction", {action: action for action in ACTIONS})  # type: ignore[misc]


class RolloutConfig(dg.Config):
    """What to do: one of promote, canary, challenger, shadow, end, rollback."""

    action: RolloutAction  # type: ignore[valid-type]
    version: str = ""
    share: float = 0.1
    by: str = "dagster"
    why: str = ""
    revision: int = 0


def rollout_job(spec: ModelSpec) -> dg.JobDefinition:
    """Return the job that changes who serves a model."""

    @dg.op(
        name=_op(spec.name),
        pool="triton",
        description=f"Change who serves {spec.name}; who answers callers has passed.",
    )
    def step(context: dg.OpExecutionContext, config: RolloutConfig, platform: dg.ResourceParam[Platform]) -> None:
        action = config.action.value  # type: ignore[attr-defined]
        wanted = Step(action, config.version, config.share, config.by, config.why, config.revision)
        plan = take(platform, spec.name, wanted, spec)
        context.log.info(f"{spec.name}: plan revision {plan.revision}: {told(plan)}")
        shown = {**_shown(plan), **_judged(platform, spec, config.version)}
        context.log_event(dg.AssetObservation(dg.AssetKey([spec.name, "deployment"]), metadata=shown))

    @dg.job(
        name=f"{spec.name}_rollout",
        description=f"Promote, begin or end a version of {spec.name} beside the champion, or roll back.",
    )
    def changes() -> None:
        step()

    return changes


def run_config(name: str, step: Step) -> dict[str, Any]:
    """Return the configuration of a model's job for a step."""
    told = {"version": step.version, "share": step.share, "by": step.by, "why": step.why, "revision": step.revision}
    return {"ops": {_op(name): {"config": {"action": step.action, **told}}}}


def _op(name: str) -> str:
    """Return the op's name: Dagster wants each once in a code location."""
    return f"{name}_rollout_step"


def _shown(plan: Plan) -> dict[str, Any]:
    shares = {f"{arm.variant} {arm.version.version}": f"{arm.share:.0%}" for arm in plan.arms if arm.share}
    return {
        "plan revision": plan.revision,
        "model version": plan.champion.version,
        "who answers": told(plan),
        **shares,
        "by": plan.change.by,
        "why": plan.change.why,
    }


def _judged(platform: Platform, spec: ModelSpec, version: str) -> dict[str, Any]:
    """Return what the judge said of a canary last, if it ever did."""
    found = platform.verdicts.newest(f"{spec.name}/model", int(version), WHOLE, CHECK) if version.isdecimal() else None
    if found is None:
        return {}
    outcome = Outcome(found.passed, found.evidence["summary"], table=tuple(found.evidence.get("rules", ())))
    return {f"canary {name}": value for name, value in metadata_of(outcome, platform.settings).items()}
