"""Steps of a version that wait for a person where its spec says so: who waits, who may approve, who did.

Kept in the loop's audit trail. Not here: whether the gates passed a version (`assets.approval`).
"""

from typing import Literal

import polars as pl

from assets.resources import Platform
from ml import remedies
from ml.loop_log import LoopEvent
from ml.spec import ModelSpec
from ml.upkeep import ApprovedStep

_STEPS: dict[str, ApprovedStep] = {"canary": "canary", "challenger": "canary", "promote": "champion"}


def approve(platform: Platform, spec: ModelSpec, version: str, step: ApprovedStep, who: str, why: str) -> None:
    """Record that a person lets a version take a step. It is taken by the sensor, or by hand.

    Raises LookupError if there is no such version, PermissionError if the spec names others, ValueError if it asks
    nobody.
    """
    if step not in spec.approval.steps:
        asked = ", ".join(spec.approval.steps) or "none"
        raise ValueError(f"{step} of {spec.name!r} waits for nobody; steps that do: {asked} (approval in its spec)")
    if who not in spec.approval.by:
        raise PermissionError(
            f"{who!r} may not approve of {spec.name!r}: {', '.join(spec.approval.by)} may (approval in its spec)"
        )
    number = platform.registry.version(spec.name, version).version
    platform.loop_log.record(LoopEvent(spec.name, "approved", _key(number, step), why, number, actor=who))


def require_approved(platform: Platform, spec: ModelSpec, version: str, action: str, by: str) -> None:
    """Raise PermissionError unless a version may take a step: nobody is asked, or who is has approved, or does it."""
    step = _STEPS.get(action)
    if step is None or step not in spec.approval.steps or _approved_by(platform, spec, version, step):
        return
    if by in spec.approval.by:
        approve(platform, spec, version, step, by, f"{action} by hand")
        return
    raise PermissionError(_asks_for(spec, version, step))


def waiting(platform: Platform, spec: ModelSpec, version: str, action: str, why: str) -> str:
    """Return whom a step waits for, on record from now on; "" if it waits for nobody."""
    step = _STEPS.get(action)
    if step is None or step not in spec.approval.steps or _approved_by(platform, spec, version, step):
        return ""
    platform.loop_log.record(LoopEvent(spec.name, "waiting", _key(version, step), why, version, {"action": action}))
    return _asks_for(spec, version, step)


def approved(platform: Platform, spec: ModelSpec) -> tuple[str, Literal["canary", "promote"], str] | None:
    """Return the newest version that waited and was approved, the step and by whom; None once it has served."""
    rows = platform.loop_log.rows(spec.name)
    for row in rows.filter(event="waiting").reverse().head(1).iter_rows(named=True):
        version, _, step = row["key"].partition(":")
        served = rows.filter(pl.col("event").is_in(["canary", "champion"]), version=version)
        who = _approved_by(platform, spec, version, step)
        if who and served.is_empty():
            return version, "promote" if step == "champion" else "canary", who
    return None


def _approved_by(platform: Platform, spec: ModelSpec, version: str, step: str) -> str:
    rows = platform.loop_log.rows(spec.name).filter(event="approved", key=_key(version, step))
    return "" if rows.is_empty() else str(rows["actor"][-1])


def _key(version: str, step: str) -> str:
    return f"{version}:{step}"


def _asks_for(spec: ModelSpec, version: str, step: str) -> str:
    return f"version {version} of {spec.name!r} waits as {step} for {' or '.join(spec.approval.by)}: " + remedies.here(
        f"make approve NAME={spec.name} VERSION={version} STEP={step}"
    )
