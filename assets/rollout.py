"""`python -m assets.rollout`: a version as champion, canary, challenger or shadow, its end, and back to the one before.

Whoever answers callers has passed the gates: asked here, whoever starts it (command, job, sensor, deployment). How a
plan is changed stands in `serving.rollout`. Without Dagster, so that a rollback takes a second.
"""

import argparse
import getpass
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import polars as pl

from assets.approval import approval
from assets.approved_steps import require_approved
from assets.command import REFUSALS, either, in_one_line, require_given
from assets.resources import Platform, platform_for
from assets.views import admit_use
from ml.models import MODEL_NAMES, model_named
from ml.settings import Settings
from ml.spec import ModelSpec
from ml.split_windows import Window
from ml.trained_spec import trained_spec
from serving import rollout
from serving.aliases import follow
from serving.model_repository import ModelRepository
from serving.plan import Plan
from serving.rollout import LEFT_SERVICE, Newcomer
from serving.rollout_status import told

if TYPE_CHECKING:
    from ml.model_version import ModelVersion
    from serving.latency import Latency

Action = Literal["promote", "canary", "challenger", "shadow", "end", "rollback"]
ACTIONS: tuple[Action, ...] = get_args(Action)
BY_DEPLOYMENT = "deployment"  # who brings a version on its way by itself
APPROVED_BY = "approved_by"  # tag of a version: the gates or a person, set when it answers
ASKED = 200  # different rows that the answer time is measured with


@dataclass(frozen=True)
class Step:
    """One change to who serves: `share` of the keys for canary, challenger and shadow; who does it, and why.

    With a `revision` above 0 only while the version serves beside the champion, and has since that revision.
    """

    action: Action
    version: str = ""
    share: float = 0.1
    by: str = ""
    why: str = ""
    revision: int = 0


@dataclass(frozen=True)
class Admitted:
    """A version that may serve, its file, and who approved of it (nobody: it is a shadow)."""

    version: "ModelVersion"
    onnx: Path
    approved_by: str


def take(platform: Platform, name: str, step: Step, spec: ModelSpec | None = None) -> Plan:
    """Change who serves the model, let MLflow's aliases follow, and return the plan that serves then.

    The spec is that in ml/models unless another is given. Raises GateClosed if a version that would answer has not
    passed, and as `serving.rollout` does.
    """
    if step.revision:
        _require_serving(platform, name, step)
    if step.action == "rollback":
        return roll_back(platform, name, step)
    if step.action == "end":
        return end(platform, name, step)
    return bring(platform, spec or model_named(name), step)


def next_action(spec: ModelSpec, now: Literal["", "shadow", "canary"]) -> Literal["shadow", "canary", "promote"]:
    """Return the next step on a version's way into service, where it is nothing yet, shadow or canary."""
    serving = spec.serving
    if now == "" and serving.shadow_rows:
        return "shadow"
    return "canary" if now in ("", "shadow") and serving.canary_share else "promote"


def _require_serving(platform: Platform, name: str, step: Step) -> None:
    """Raise LookupError unless the version has served beside the champion since the step's revision."""
    plans = ModelRepository(platform.settings.serving_home).history(name)
    since = [plan for plan in plans if plan.revision >= step.revision]
    if not since or not all(any(arm.version.version == step.version for arm in plan.arms) for plan in since):
        raise LookupError(
            f"version {step.version} of {name!r} has not served beside the champion since revision {step.revision}: "
            f"nothing is changed ({step.action} by {step.by})"
        )


def admit(platform: Platform, spec: ModelSpec, reader: str, version: str, answers: bool = True) -> Admitted:
    """Return a version that may serve. Raises GateClosed if not, LookupError if there is none or its file changed.

    A shadow `answers` nobody: it needs a registered file and views as they were published, and no verdict.
    """
    from ml.onnx_file import require_unchanged

    found = platform.registry.version(spec.name, version)
    if answers:
        platform.guard.require(reader, f"{spec.name}/model", int(found.version))
    onnx = platform.registry.onnx_path(found)
    sha256 = require_unchanged(found, onnx)
    approved_by = approval(platform, found, sha256) if answers else ""
    admit_use(platform, reader, spec.views)
    return Admitted(found, onnx, approved_by)


def bring(
    platform: Platform,
    spec: ModelSpec,
    step: Step,
    admitted: Admitted | None = None,
    measured: "Callable[[Latency], None]" = lambda latency: None,
) -> Plan:
    """Have a version serve as champion, or beside it; one that answers has passed its gates."""
    if step.action == "end" or step.action == "rollback":
        raise ValueError(f"action is {step.action!r}; a version begins as champion, canary, challenger or shadow")
    answers = step.action != "shadow"
    require_approved(platform, spec, step.version, step.action, step.by)
    admitted = admitted or admit(platform, spec, f"{spec.name}/rollout", step.version, answers)
    plan = _brought(platform, spec, step, step.action, admitted, measured)
    if answers:
        platform.registry.tag(admitted.version, {APPROVED_BY: admitted.approved_by})
    _follow(platform, spec.name, begun=step.version)
    return plan


def _brought(
    platform: Platform,
    spec: ModelSpec,
    step: Step,
    action: Literal["promote", "canary", "challenger", "shadow"],
    admitted: Admitted,
    measured: "Callable[[Latency], None]",
) -> Plan:
    """Change the plan: at once for a version that serves already, after it is verified for another."""
    settings = platform.settings
    if action == "promote" and _serves_beside(platform, spec.name, admitted):
        return rollout.promote(spec.name, settings, step.version, step.by, step.why)
    new = newcomer(platform, spec, admitted, measured)
    if action == "promote":
        return rollout.deploy(new, settings, step.by, step.why)
    return rollout.begin(new, settings, action, step.share, step.by, step.why)


def _serves_beside(platform: Platform, name: str, admitted: Admitted) -> bool:
    """Whether a version serves beside the champion, from the file that was admitted."""
    served = ModelRepository(platform.settings.serving_home).deployed(name)
    arm = None if served is None else served.arm_of(admitted.version.version)
    return arm is not None and arm.variant != "champion" and not admitted_anew(arm.version.onnx, admitted.onnx)


def end(platform: Platform, name: str, step: Step) -> Plan:
    """End the part of a version beside the champion."""
    plan = rollout.end(name, platform.settings, step.version, step.by, step.why)
    _follow(platform, name)
    return plan


def roll_back(platform: Platform, name: str, step: Step) -> Plan:
    """Make the champion before the champion again; the one that is left fails its gate: it does not come back."""
    plan, left = rollout.rollback(name, platform.settings, step.by, step.why, left_service(platform, name))
    rollout.record_rollback(name, platform.settings, left, step.by)
    _follow(platform, name)
    return plan


def _follow(platform: Platform, name: str, begun: str = "") -> None:
    follow(platform.registry, ModelRepository(platform.settings.serving_home), name, begun)


def left_service(platform: Platform, name: str) -> tuple[str, ...]:
    """Return the versions that were rolled back, or broke a bound as canary: no rollback leads to them."""
    rows = platform.verdicts.rows(f"{name}/model").filter(check="promotion", passed=False)
    told = [(version, evidence) for version, evidence in rows.select("version", "evidence").iter_rows()]
    return tuple(dict.fromkeys(str(version) for version, text in told if json.loads(text).get(LEFT_SERVICE)))


def newcomer(
    platform: Platform,
    spec: ModelSpec,
    admitted: Admitted,
    measured: "Callable[[Latency], None]" = lambda latency: None,
) -> Newcomer:
    """Return a version as `serving.rollout` takes it.

    With held-out rows to ask it, whose entities are known, and training rows to answer with while features are not
    read.
    """
    from serving.build_defaults import build_defaults

    found = admitted.version
    spec = trained_spec(spec, platform.lake.metadata(f"{spec.name}/training_set", found.training_set_version))
    rows = window_rows(platform, spec, found.training_set_version, spec.split.test)
    asked = rows.sample(min(ASKED, rows.height), seed=spec.training.seed).to_dicts()
    defaults = build_defaults(spec, window_rows(platform, spec, found.training_set_version, spec.split.train))
    views = platform.feature_views
    return Newcomer(spec, found.version, admitted.onnx, views, found.threshold, asked, measured, defaults)


def window_rows(platform: Platform, spec: ModelSpec, version: int, window: Window) -> pl.DataFrame:
    """Return the rows of a training set that were asked in a window."""
    asked = pl.col(spec.outcome.prediction_time)
    rows = platform.lake.read(f"{spec.name}/training_set", version)
    return rows.filter((asked >= window.start) & (asked < window.end)).collect()


def admitted_anew(served: str, registered: Path) -> bool:
    """Whether the file that serves is another than the registered one, which was admitted."""
    from ml.onnx_file import file_hash

    return not Path(served).is_file() or file_hash(Path(served)) != file_hash(registered)


@in_one_line(*REFUSALS, RuntimeError)
def main(arguments: list[str] | None = None) -> int:
    """Take the step that the command line says. Returns 1 after one line on failure."""
    step, name = _parsed(arguments)
    plan = take(platform_for(Settings()), name, step)
    print(f"{name} revision {plan.revision}: {told(plan)}")
    return 0


def _parsed(arguments: list[str] | None) -> tuple[Step, str]:
    parser = argparse.ArgumentParser(prog="python -m assets.rollout", description="Change who serves a model.")
    actions = parser.add_subparsers(dest="action", required=True)
    for action, text in _HELP.items():
        one = actions.add_parser(action, help=text, description=text)
        one.add_argument("name", nargs="?", default="", help="the model, a file in ml/models")
        if action != "rollback":
            one.add_argument("version", nargs="?", default="", help="its number in the registry")
        if action in ("canary", "challenger", "shadow"):
            one.add_argument("--share", type=float, default=1.0 if action == "shadow" else 0.1, help="of the keys")
        one.add_argument("--why", default="", help="kept with the plan")
    told: dict[str, Any] = vars(parser.parse_args(arguments))
    name = told.pop("name")
    version = {"VERSION": (told["version"], "its number in the registry")} if "version" in told else {}
    require_given(told["action"], NAME=(name, either(MODEL_NAMES)), **version)
    return Step(**told, by=getpass.getuser()), name


_HELP: dict[Action, str] = {
    "promote": "make a version champion that passed its gates",
    "canary": "let a version that passed its gates answer a share of the keys, judged against the champion",
    "challenger": "the same as one side of an A/B test, which nobody judges but you",
    "shadow": "let a version score beside the champion: it is logged and answers nobody, so it needs no verdict",
    "end": "end the part of a version beside the champion",
    "rollback": "make the champion before the champion again; the one that is left does not come back by itself",
}

if __name__ == "__main__":
    raise SystemExit(main())
