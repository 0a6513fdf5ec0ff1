"""Brings model versions into service and back: champion, canary, challenger of an A/B test, shadow.

A change is a new plan, which routers take over between two batches; only one of other inputs, outputs or processes is
loaded by Triton anew. A version is verified by real inferences, fast enough, before it answers anybody; until then, and
whenever one of these fails, the old plan serves. Whether a version may be deployed is the gates' business; how a plan
is put into effect, `plan_change`'s. The command line is in assets/rollout.py.
"""

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml import remedies
from ml.settings import Settings
from ml.spec import ModelSpec
from serving.build_plan import build_plan
from serving.control import Probe
from serving.defaults import FILE as DEFAULTS
from serving.latency import Latency, measure
from serving.model_repository import ModelRepository
from serving.plan import Arm, Plan, Variant
from serving.plan_change import DeploymentError as DeploymentError
from serving.plan_change import beside, changing
from serving.replicas import Replicas

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml.feature_views import FeatureView


LEFT_SERVICE = "left_service"  # in the evidence of a verdict: it was given on what the version did in service


@dataclass(frozen=True)
class RolloutStatus:
    """The deployed plans of a model, oldest first, and who answers now (None, with the reason, if nobody)."""

    model: str
    history: tuple[Plan, ...]
    answering: Probe | None
    reason: str = ""


@dataclass(frozen=True)
class Newcomer:
    """A version that is to serve: its graph, the feature views it may read, the probability from which one acts.

    `rows` are asked to measure how fast it answers (columns of which the request's fields are used; none: all fields
    missing), which is not logged; `measured` is told. `defaults` are rows to answer with while features are not read
    (serving.build_defaults; none: then they are missing).
    """

    spec: ModelSpec
    version: str
    onnx: Path
    views: "Sequence[FeatureView]"
    threshold: float | None = None
    rows: "Sequence[Mapping[str, Any]]" = ()
    measured: Callable[[Latency], None] = lambda latency: None
    defaults: "Mapping[str, Any] | None" = None


def deploy(newcomer: Newcomer, settings: Settings, by: str = "", why: str = "") -> Plan:
    """Make a version the champion and return the plan; see `begin`.

    The champion so far stays open as previous; canary, challenger and shadows end. Raises ConnectionError if Triton
    does not run, LookupError or ValueError if spec, views and file do not fit together, DeploymentError if Triton or a
    router refuses the plan, or it does not answer, or its p99 is above spec.serving.slo.p99_ms.
    """
    with changing(newcomer.spec.name, settings, by, why) as change:
        wanted = _wanted(newcomer, settings)
        old = change.old
        trial = None if old is None else beside(old, Arm("candidate", wanted.champion), wanted)
        if old is not None and wanted == dataclasses.replace(
            old, revision=1, arms=(), views=wanted.views, change=wanted.change
        ):
            return old  # it is the champion already, as it is wanted; whoever is beside it stays
        if trial is None or not change.fits(wanted):
            return change.make("deploy", wanted, lambda: _prove(newcomer, settings))
        if wanted.champion not in [arm.version for arm in trial.lineup if arm.variant != "candidate"]:
            change.make("try", trial, lambda: _prove(newcomer, settings))
        return change.make("deploy", _crowned(wanted, old))


def begin(newcomer: Newcomer, settings: Settings, variant: Variant, share: float, by: str = "", why: str = "") -> Plan:
    """Have a version serve beside the champion, as canary, challenger or shadow, with a share of the keys.

    Of canaries and challengers there is one each: another one of the kind ends. A version that serves already changes
    its part or its share. Raises as `deploy`, and LookupError if there is no champion, ValueError if the version is the
    champion or has other inputs or outputs than it.
    """
    name = newcomer.spec.name
    with changing(name, settings, by, why) as change:
        old, wanted = change.champion(), _wanted(newcomer, settings)
        arms = [
            a
            for a in old.arms
            if a.version.version != newcomer.version and (variant == "shadow" or a.variant != variant)
        ]
        told = f"version {newcomer.version} cannot serve beside version {old.champion.version} of {name!r}"
        if newcomer.version == old.champion.version:
            raise ValueError(f"version {newcomer.version} of {name!r} is the champion already")
        trial = beside(old, Arm("candidate", wanted.champion), wanted)
        plan = beside(dataclasses.replace(old, arms=tuple(arms)), Arm(variant, wanted.champion, share), wanted)
        if trial is None or plan is None or not change.fits(plan):
            raise ValueError(f"{told}: their requests, answers or views differ; deploy it")
        if old.arm_of(newcomer.version) is None:
            change.make("try", trial, lambda: _prove(newcomer, settings))
        return change.make(f"begin {variant}", plan)


def end(name: str, settings: Settings, version: str, by: str = "", why: str = "") -> Plan:
    """End the part of a version that is not the champion. Raises LookupError if it has none, and as `deploy`."""
    with changing(name, settings, by, why) as change:
        arm = _arm(change.champion(), version)
        kept = tuple(a for a in change.champion().arms if a is not arm)
        return change.make(f"end {arm.variant}", dataclasses.replace(change.champion(), arms=kept))


def promote(name: str, settings: Settings, version: str, by: str = "", why: str = "") -> Plan:
    """Make a version that serves beside the champion the champion.

    Raises LookupError if it does not, and as `deploy`.
    """
    with changing(name, settings, by, why) as change:
        old = change.champion()
        arm = _arm(old, version)
        return change.make("promote", _crowned(dataclasses.replace(old, champion=arm.version, arms=()), old))


def rollback(
    name: str, settings: Settings, by: str = "", why: str = "", left_before: Collection[str] = ()
) -> tuple[Plan, str]:
    """Make the previous champion the champion again, as a new revision; return its plan, and the version that was left.

    The previous champion is the newest earlier one of another version that is not among `left_before`: without those a
    second rollback undoes the first. Whatever else was beside the champion ends. Raises LookupError if there is none,
    otherwise what `deploy` raises.
    """
    with changing(name, settings, by, why) as change:
        old = change.champion()
        previous = change.repository.previous(name, left_before)
        if previous is None:
            another = remedies.here(f"make promote NAME={name}")
            others = f", but {', '.join(left_before)}, which left service; name one: {another}" if left_before else ""
            raise LookupError(f"model {name!r} has no champion before version {old.champion.version}{others}")
        plan = _crowned(dataclasses.replace(previous, arms=()), old)
        plan = plan if change.fits(plan) else dataclasses.replace(previous, arms=())
        return change.make("rollback", plan), old.champion.version


def record_rollback(name: str, settings: Settings, left: str, actor: str) -> None:
    """Let the gates follow a rollback from version `left`: it fails its own, so that nothing deploys it by itself.

    Does nothing for a model that the registry does not know.
    """
    from ml.clock import open_clock
    from ml.lake import Lake
    from ml.registry import Registry
    from ml.verdicts import Verdict, Verdicts

    plan = ModelRepository(settings.serving_home).deployed(name)
    registry = Registry(settings.tracking_uri, settings.artifacts, settings.artifact_cache)
    if plan is None or not registry.versions(name):
        return
    reason = {"summary": f"rolled back to version {plan.champion.version}", LEFT_SERVICE: True}
    verdict = Verdict(f"{name}/model", int(left), "promotion", False, evidence=reason, actor=actor)
    lake, clock = Lake(settings.lake, settings.locks), open_clock(settings.clock_file)
    Verdicts(lake, clock).record([verdict])
    told = {"verdict": "refused", "verdict_reasons": f"{reason['summary']} by {actor}", "verdict_run": ""}
    for version in (v for v in registry.versions(name) if v.version == left):
        registry.tag(version, told)


def status(name: str, settings: Settings) -> RolloutStatus:
    """Return the model's deployed plans and who answers. Raises LookupError if it was never deployed."""
    history = tuple(ModelRepository(settings.serving_home).history(name))
    if not history:
        raise LookupError(f"model {name!r} was never deployed; {remedies.deploy(name)}")
    try:
        return RolloutStatus(name, history, Replicas(settings).probe(name))
    except (OSError, LookupError, RuntimeError) as error:
        return RolloutStatus(name, history, None, str(error))


def _wanted(newcomer: Newcomer, settings: Settings) -> Plan:
    spec = newcomer.spec
    repository = ModelRepository(settings.serving_home)
    artifact = repository.write_artifact(spec.name, newcomer.version, newcomer.onnx, newcomer.defaults)
    defaults = artifact.with_name(DEFAULTS) if artifact.with_name(DEFAULTS).exists() else None
    return build_plan(spec, newcomer.views, 1, newcomer.version, artifact, settings, newcomer.threshold, defaults)


def _prove(newcomer: Newcomer, settings: Settings) -> None:
    bound = newcomer.spec.serving.slo.p99_ms
    latency = measure(newcomer.spec.name, newcomer.version, settings, newcomer.rows, bound)
    newcomer.measured(latency)
    latency.require(bound)


def _crowned(plan: Plan, old: Plan | None) -> Plan:
    """Return the plan with the champion of `old` kept open as previous, where both can be served by one router."""
    if old is None or old.champion.version == plan.champion.version:
        return plan
    return beside(plan, Arm("previous", old.champion), old) or plan


def _arm(plan: Plan, version: str) -> Arm:
    found = plan.arm_of(version)
    if found is None or found.variant == "champion":
        others = ", ".join(f"{arm.variant} {arm.version.version}" for arm in plan.arms) or "nobody"
        raise LookupError(f"version {version} of {plan.model!r} does not serve beside the champion; {others} does")
    return found
