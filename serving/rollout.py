"""Brings a model version into service and back: `python -m serving.rollout status [NAME] | rollback NAME`.

A revision is written, loaded, and verified by real inferences, fast enough, before it counts; until then, and whenever
one of these fails, the old revision serves. Whether a version may be deployed is the gates' business.
"""

import argparse
import dataclasses
import getpass
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml.settings import Settings
from ml.spec import ModelSpec
from serving.build_plan import build_plan
from serving.control import Control, Probe
from serving.latency import Latency, measure
from serving.model_repository import ModelRepository
from serving.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ml.feature_views import FeatureView


class DeploymentError(RuntimeError):
    """A revision was refused; the message says why and who serves now."""


@dataclass(frozen=True)
class RolloutStatus:
    """The deployed plans of a model, oldest first, and who answers now (None, with the reason, if nobody)."""

    model: str
    history: tuple[Plan, ...]
    answering: Probe | None
    reason: str = ""


def deploy(
    spec: ModelSpec,
    version: str,
    onnx: Path,
    views: "Sequence[FeatureView]",
    settings: Settings,
    rows: "Sequence[Mapping[str, Any]]" = (),
    measured: Callable[[Latency], None] = lambda latency: None,
    threshold: float | None = None,
) -> Plan:
    """Serve `version` of the model, whose graph is `onnx`, and return its plan once it has answered, and fast enough.

    How fast is measured with requests taken from `rows` (columns of which the request's fields are used; none: all
    fields missing), which are not logged; `measured` is told. `threshold` is the probability from which the version's
    answers say to act (None: they do not say). Raises ConnectionError if Triton does not run,
    LookupError or ValueError if spec, views and file do not fit together, DeploymentError if Triton refuses the
    revision, or it does not answer, or its p99 is above spec.serving.slo.p99_ms.
    """
    repository = ModelRepository(settings.serving_home)

    def prove(plan: Plan) -> None:
        latency = measure(spec.name, version, settings, rows, spec.serving.slo.p99_ms)
        measured(latency)
        latency.require(spec.serving.slo.p99_ms)

    with repository.lock(spec.name):

        def plan(revision: int) -> Plan:
            artifact = repository.write_artifact(spec.name, version, onnx)
            return build_plan(spec, views, revision, version, artifact, settings, threshold)

        return _switch(repository, _control(settings), spec.name, plan, prove)


def rollback(name: str, settings: Settings) -> Plan:
    """Serve the previous champion again, as a new revision, and return its plan.

    The previous champion is the newest earlier one of another version: a second rollback undoes the first.
    Raises LookupError if there is none, otherwise what `deploy` raises.
    """
    repository = ModelRepository(settings.serving_home)
    with repository.lock(name):
        previous = _previous(repository, name)
        return _switch(
            repository,
            _control(settings),
            name,
            lambda revision: dataclasses.replace(previous, revision=revision),
        )


def record_rollback(name: str, settings: Settings, left: str, actor: str) -> None:
    """Let registry and gates follow a rollback from version `left`: aliases move, and `left` fails its gate.

    So nothing deploys `left` again by itself. Does nothing for a model that the registry does not know.
    """
    from ml.clock import open_clock
    from ml.lake import Lake
    from ml.registry import Registry
    from ml.verdicts import Verdict, Verdicts

    plan = ModelRepository(settings.serving_home).deployed(name)
    registry = Registry(settings.tracking_uri, settings.artifacts)
    if plan is None or not registry.versions(name):
        return
    registry.promote(name, plan.champion.version)
    reason = {"summary": f"rolled back to version {plan.champion.version}"}
    verdict = Verdict(f"{name}/model", int(left), "promotion", False, evidence=reason, actor=actor)
    Verdicts(Lake(settings.lake), open_clock(settings.clock_file)).record([verdict])
    told = {"verdict": "refused", "verdict_reasons": f"{reason['summary']} by {actor}", "verdict_run": ""}
    for version in (v for v in registry.versions(name) if v.version == left):
        registry.tag(version, told)


def status(name: str, settings: Settings) -> RolloutStatus:
    """Return the model's deployed plans and who answers. Raises LookupError if it was never deployed."""
    history = tuple(ModelRepository(settings.serving_home).history(name))
    if not history:
        raise LookupError(f"model {name!r} was never deployed; run make demo")
    try:
        return RolloutStatus(name, history, _control(settings).probe(name))
    except (OSError, LookupError, RuntimeError) as error:
        return RolloutStatus(name, history, None, str(error))


def _switch(
    repository: ModelRepository,
    control: Control,
    name: str,
    make_plan: Callable[[int], Plan],
    prove: Callable[[Plan], None] = lambda plan: None,
) -> Plan:
    control.require_live()
    repository.discard_unverified(name)
    old = repository.deployed(name)
    revision = repository.next_revision(name)
    try:
        plan = make_plan(revision)
        repository.write_revision(plan)
        control.load(name)
        _verify(control, plan)
        prove(plan)
        repository.mark_deployed(plan)
    except BaseException as error:
        repository.discard_unverified(name, reason=f"{type(error).__name__}: {error}")
        outcome = _restore(control, name, old)
        if isinstance(error, (RuntimeError, TimeoutError)):
            raise DeploymentError(f"revision {revision} of {name!r} is refused: {error}; {outcome}") from error
        raise
    return plan


def _verify(control: Control, plan: Plan) -> None:
    probe = control.probe(plan.model)
    if probe != (plan.revision, plan.champion.version):
        raise RuntimeError(
            f"revision {probe.revision}, version {probe.model_version} answers in place of "
            f"revision {plan.revision}, version {plan.champion.version}"
        )


def _restore(control: Control, name: str, old: Plan | None) -> str:
    """Make Triton serve `old` again if it does not; return a sentence on who serves."""
    try:
        if old is None:
            control.unload(name)
            return "nothing serves"
        if control.recover(name).revision != old.revision:
            control.load(name)
        probe = control.probe(name)
        return f"revision {probe.revision}, version {probe.model_version}, keeps serving"
    except (OSError, LookupError, RuntimeError) as error:
        return f"and the old revision does not answer ({error}); run python -m serving.server start"


def _previous(repository: ModelRepository, name: str) -> Plan:
    serving, previous = repository.deployed(name), repository.previous(name)
    if serving is None:
        raise LookupError(f"model {name!r} was never deployed; run make demo")
    if previous is None:
        raise LookupError(f"model {name!r} has no champion before version {serving.champion.version}")
    return previous


def _control(settings: Settings) -> Control:
    return Control(settings)


def _print(state: RolloutStatus) -> None:
    for plan in state.history:
        answers = state.answering is not None and state.answering.revision == plan.revision
        print(f"{state.model} revision {plan.revision}: version {plan.champion.version}" + (" (answers)" * answers))
    if state.answering is None:
        print(f"nobody answers: {state.reason}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code (1: failed, or nobody answers)."""
    parser = argparse.ArgumentParser(prog="python -m serving.rollout", description=__doc__)
    parser.add_argument("action", choices=["status", "rollback"])
    parser.add_argument("name", nargs="?", help="name of the model; status without one shows all")
    options = parser.parse_args(arguments)
    if options.action == "rollback" and options.name is None:
        parser.error("rollback needs the model's name")
    settings = Settings()
    names = [options.name] if options.name else ModelRepository(settings.serving_home).deployed_models()
    try:
        if options.action == "rollback":
            left = status(options.name, settings).history[-1].champion.version
            rollback(options.name, settings)
            record_rollback(options.name, settings, left, getpass.getuser())
        states = [status(name, settings) for name in names]
    except (OSError, LookupError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    for state in states:
        _print(state)
    if not states:
        print("no model is deployed")
    return 0 if all(state.answering is not None for state in states) else 1


if __name__ == "__main__":
    raise SystemExit(main())
