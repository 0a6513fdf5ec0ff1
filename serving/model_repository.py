"""Triton's model repository on disk: artifacts, immutable plans, and which of them is deployed.

Under the serving home: artifacts/<model>/<version>/model.onnx; plans/<model>/<revision>.json; refused/ (plans that
failed, with the reason); deployed/<model>.json, the pointer that routers watch; models/<model>/ (Triton's), whose
configuration most plans share: only one of other inputs, outputs or processes gets a revision there. Everything appears
by rename. The configuration is in `triton_config`, talking to Triton in `control`, to routers in `router_states`.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving.compiled import compile_graph
from serving.defaults import FILE as DEFAULTS
from serving.plan import Plan
from serving.plan_json import load_plan
from serving.triton_config import config_pbtxt

_MODEL = '"""A deployed revision."""\n\nfrom serving.triton_model import TritonPythonModel as TritonPythonModel\n'


class ModelRepository:
    """The repository under one serving home."""

    def __init__(self, serving_home: Path) -> None:
        self.home = serving_home
        self.models = serving_home / "models"

    @contextmanager
    def lock(self, model: str) -> Iterator[None]:
        """Hold the model's deployment lock, waiting for another process that holds it."""
        path = self.home / "deployed" / f".{model}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def write_artifact(self, model: str, version: str, onnx: Path, defaults: Mapping[str, Any] | None = None) -> Path:
        """Copy the ONNX file of a version; beside it, compiled, and rows to answer with while features are not read.

        Returns the place of the ONNX file; what is there already stays.
        Raises LookupError if there is no such file and ValueError if the version is there with other bytes.
        """
        if not onnx.is_file():
            raise LookupError(f"no ONNX file at {onnx}; train model {model!r} first")
        target = self._artifact(model, version)
        if target.exists():
            if target.read_bytes() != onnx.read_bytes():
                raise ValueError(f"{target} holds another graph; register the new one of {model!r} as a new version")
            if defaults and not target.with_name(DEFAULTS).exists():  # of a deployment before there were any
                _replace(target.with_name(DEFAULTS), json.dumps(defaults))
            return target

        def fill(folder: Path) -> None:
            shutil.copyfile(onnx, folder / target.name)
            compile_graph(folder / target.name)
            if defaults:
                (folder / DEFAULTS).write_text(json.dumps(defaults))

        self._appear(target.parent, fill)
        return target

    def next_revision(self, model: str) -> int:
        """Return the revision after all that were ever written, refused ones included."""
        return max([self._newest(model), *_numbers(self.home / "refused" / model)]) + 1

    def write_plan(self, plan: Plan) -> None:
        """Write the plan as a new revision. Nobody answers by it before `point`."""
        path = self._plans(plan.model) / f"{plan.revision}.json"
        if path.exists():
            raise ValueError(f"revision {plan.revision} of {plan.model!r} exists and is immutable; deploy again")
        _replace(path, plan.to_json())

    def configured(self, plan: Plan) -> bool:
        """Whether the model's configuration in Triton is that of `plan`: then it needs no load."""
        path = self.models / plan.model / "config.pbtxt"
        return path.exists() and path.read_text() == config_pbtxt(plan)

    def configure(self, plan: Plan) -> None:
        """Give Triton's model the configuration of `plan`, as a revision that the next load takes."""
        target = self.models / plan.model / str(plan.revision)
        self._write_config(plan)
        if not target.exists():
            self._appear(target, lambda folder: (folder / "model.py").write_text(_MODEL))

    def point(self, plan: Plan, proven: bool) -> None:
        """Have routers answer by `plan`. Until it is `proven`, the plan before it is the one that counts."""
        before = self.deployed(plan.model)
        told = {"revision": plan.revision}
        if not proven:
            told["before"] = before.revision if before else 0
        _replace(self.pointer(plan.model), json.dumps(told) + "\n")

    def pointer(self, model: str) -> Path:
        """Return the file that says by which revision routers answer."""
        return self.home / "deployed" / f"{model}.json"

    def pointed(self, model: str) -> Plan | None:
        """Return the plan that routers answer by, proven or not, None if there is none."""
        return self._plan(model, _told(self.pointer(model)).get("revision", 0))

    def deployed(self, model: str) -> Plan | None:
        """Return the newest proven plan, or None if the model was never deployed."""
        told = _told(self.pointer(model))
        return self._plan(model, told.get("before", told.get("revision", 0)))

    def answering(self, model: str) -> set[int]:
        """Return the revisions that routers may answer by: the proven one, and the one that is tried now."""
        return {revision for revision in _told(self.pointer(model)).values() if revision}

    def left_unproven(self, model: str) -> bool:
        """Whether a change was killed before it was proven; False while one is under way."""
        if "before" not in _told(self.pointer(model)):
            return False
        with (self.home / "deployed" / f".{model}.lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return "before" in _told(self.pointer(model))

    def deployed_models(self) -> list[str]:
        """Return the names of all deployed models."""
        names = sorted(path.stem for path in (self.home / "deployed").glob("*.json"))
        return [name for name in names if _told(self.pointer(name)).get("before") != 0]

    def history(self, model: str) -> list[Plan]:
        """Return all deployed plans, oldest first, the serving one last."""
        return list(self._newest_first(model))[::-1]

    def before(self, model: str, revision: int) -> Iterator[Plan]:
        """Yield the deployed plans below a revision, the newest first."""
        return (plan for plan in self._newest_first(model) if plan.revision < revision)

    def plan(self, model: str, revision: int) -> Plan | None:
        """Return the plan of a revision, a refused one too: it may have answered. None if it is gone."""
        refused = self.home / "refused" / model / str(revision) / "plan.json"
        return load_plan(refused) if refused.exists() else self._existing(model, revision)

    def previous(self, model: str, without: Collection[str] = ()) -> Plan | None:
        """Return the newest plan of another champion than the serving one and those `without`, or None."""
        plans = self._newest_first(model)
        serving = next(plans, None)
        others = {*without, serving.champion.version} if serving else set()
        return next((plan for plan in plans if plan.champion.version not in others), None)

    def discard_unproven(self, model: str, reason: str = "never verified") -> Plan | None:
        """Point to the proven plan again, put those above it under refused/, drop what only they needed; return it.

        Triton's configuration becomes that of the proven plan; `configured` said before whether to load it again.
        """
        serving = self.deployed(model)
        last = serving.revision if serving else 0
        if "before" not in _told(self.pointer(model)) and self._newest(model) <= last:
            return serving
        if serving is not None:
            if "before" in _told(self.pointer(model)):
                self.point(serving, proven=True)
        else:
            self.pointer(model).unlink(missing_ok=True)
        for number in (n for n in _numbers(self._plans(model), ".json") if n > last):
            self._refuse(model, number, reason)
        for number in (n for n in _numbers(self.models / model) if n > last):
            shutil.rmtree(self.models / model / str(number))
        if serving is None:
            shutil.rmtree(self.models / model, ignore_errors=True)
        elif not self.configured(serving):
            self._write_config(serving)
        used = {arm.version.version for plan in self.history(model) for arm in plan.lineup}
        for folder in (self.home / "artifacts" / model).glob("*"):
            if folder.name not in used:
                shutil.rmtree(folder)
        return serving

    def _newest(self, model: str) -> int:
        """Return the highest number of a plan or of Triton's revisions."""
        return max([0, *_numbers(self._plans(model), ".json"), *_numbers(self.models / model)])

    def _newest_first(self, model: str) -> Iterator[Plan]:
        """Yield the deployed plans, the serving one first."""
        serving = self.deployed(model)
        numbers = {*_numbers(self._plans(model), ".json"), *self._old_plans(model)} if serving else set()
        for number in sorted((n for n in numbers if serving and n <= serving.revision), reverse=True):
            plan = self._plan(model, number)
            if plan is not None:
                yield plan

    def _refuse(self, model: str, number: int, reason: str) -> None:
        folder = self.home / "refused" / model / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / "reason.txt", reason + "\n")
        os.rename(self._plans(model) / f"{number}.json", folder / "plan.json")

    def _plans(self, model: str) -> Path:
        return self.home / "plans" / model

    def _plan(self, model: str, revision: int) -> Plan | None:
        path = self._plans(model) / f"{revision}.json"
        if not path.exists():
            path = self._old_plans(model).get(revision, path)
        return load_plan(path) if revision else None

    def _existing(self, model: str, revision: int) -> Plan | None:
        numbers = {*_numbers(self._plans(model), ".json"), *self._old_plans(model)}
        return self._plan(model, revision) if revision in numbers else None

    def _old_plans(self, model: str) -> dict[int, Path]:
        """Return the plans that stood in Triton's revisions, when each plan was one."""
        return {int(path.parent.name): path for path in (self.models / model).glob("*/plan.json")}

    def _write_config(self, plan: Plan) -> None:
        _replace(self.models / plan.model / "config.pbtxt", config_pbtxt(plan))

    def _artifact(self, model: str, version: str) -> Path:
        return (self.home / "artifacts" / model / version / "model.onnx").absolute()

    def _appear(self, target: Path, fill: Callable[[Path], object]) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = self.home / "staging"
        staging.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=staging))
        try:
            fill(folder)
            folder.chmod(0o755)
            os.rename(folder, target)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _numbers(folder: Path, suffix: str = "") -> list[int]:
    names = [path.name.removesuffix(suffix) for path in folder.glob(f"*{suffix}")]
    return [int(name) for name in names if name.isdecimal()]


def _told(pointer: Path) -> dict[str, int]:
    """Return what a pointer says: a revision, and the one before it if it is not proven."""
    try:
        return dict(json.loads(pointer.read_text()))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{pointer} is damaged ({error}); remove it and deploy again") from error


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(temporary, path)
