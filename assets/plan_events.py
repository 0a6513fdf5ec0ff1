"""What became of a model's plans, in the loop's audit trail: told from the plans themselves, which are kept for good.

So that a change that was made by hand, or whose process was killed right after it, is told like any other.
"""

from collections.abc import Iterator
from typing import Literal

from assets.resources import Platform
from ml.loop_log import Event, LoopEvent
from ml.spec import ModelSpec
from serving.model_repository import ModelRepository
from serving.plan import Plan

VARIANTS: tuple[Literal["shadow", "canary"], ...] = ("shadow", "canary")


def note_plans(platform: Platform, spec: ModelSpec) -> None:
    """Record the changes of plan that are not on record yet."""
    history = ModelRepository(platform.settings.serving_home).history(spec.name)
    rows = platform.loop_log.rows(spec.name)
    known = set(rows.filter(rows["key"].str.starts_with("plan "))["key"]) if rows.height else set[str]()
    before: Plan | None = None
    for plan in history:
        if f"plan {plan.revision}" not in known:
            for event in _events(spec.name, plan, before):
                platform.loop_log.record(event)
        before = plan


def _events(model: str, plan: Plan, before: Plan | None) -> Iterator[LoopEvent]:
    key, change = f"plan {plan.revision}", plan.change
    told = {"action": change.action, "planned at": change.at}
    if before is None or before.champion.version != plan.champion.version:
        reverted = change.action == "rollback"
        event: Event = "reverted" if reverted else "champion"
        left = before.champion.version if reverted and before is not None else plan.champion.version
        yield LoopEvent(model, event, key, change.why, left, told, change.by)
    if before is None or change.action == "rollback":
        return
    old = {(arm.variant, arm.version.version) for arm in before.arms}
    for variant in VARIANTS:
        arm = plan.arm(variant)
        if arm is not None and (variant, arm.version.version) not in old:
            yield LoopEvent(model, variant, key, change.why, arm.version.version, told, change.by)
    if change.action.startswith("end "):  # whose part it was follows
        gone = {arm.version.version for arm in before.arms} - {arm.version.version for arm in plan.arms}
        for version in sorted(gone):
            yield LoopEvent(model, "reverted", key, change.why, version, told, change.by)
