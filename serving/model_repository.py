"""Triton's model repository on disk: artifacts, immutable revisions, and which revision is deployed.

Under the serving home: artifacts/<model>/<version>/model.onnx, models/<model>/<revision>/ (Triton's),
refused/ (revisions that failed, with the reason) and deployed/<model>.json, written last: a revision above
it was never verified. Everything appears by rename. Talking to Triton is in `control`, deciding in `rollout`.
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.plan import MAX_BATCH, Plan, load_plan

_MODEL = '"""A deployed revision."""\n\nfrom serving.triton_model import TritonPythonModel as TritonPythonModel\n'
_OUTPUTS = {
    "decision": "TYPE_BOOL",
    "model_version": "TYPE_STRING",
    "prediction_id": "TYPE_STRING",
    "degraded": "TYPE_BOOL",
    "feature_status": "TYPE_STRING",
}


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

    def write_artifact(self, model: str, version: str, onnx: Path) -> Path:
        """Copy the ONNX file of a model version and return its place.

        Raises LookupError if there is no such file and ValueError if the version is there with other bytes.
        """
        if not onnx.is_file():
            raise LookupError(f"no ONNX file at {onnx}; train model {model!r} first")
        target = self._artifact(model, version)
        if target.exists():
            if target.read_bytes() != onnx.read_bytes():
                raise ValueError(f"{target} holds another graph; register the new one of {model!r} as a new version")
            return target
        self._appear(target.parent, lambda folder: shutil.copyfile(onnx, folder / target.name))
        return target

    def next_revision(self, model: str) -> int:
        """Return the revision after all that were ever written, refused ones included."""
        return max([0, *_numbers(self.models / model), *_numbers(self.home / "refused" / model)]) + 1

    def write_revision(self, plan: Plan) -> Path:
        """Write the plan as a new revision, together with the model's config.pbtxt, and return its folder."""
        target = self.models / plan.model / str(plan.revision)
        if target.exists():
            raise ValueError(f"revision {plan.revision} of {plan.model!r} exists and is immutable; deploy again")
        target.parent.mkdir(parents=True, exist_ok=True)

        def fill(folder: Path) -> None:
            (folder / "model.py").write_text(_MODEL)
            (folder / "plan.json").write_text(plan.to_json())

        self.write_config(plan)
        self._appear(target, fill)
        return target

    def write_config(self, plan: Plan) -> None:
        """Replace the model's config.pbtxt by the one of `plan`."""
        _replace(self.models / plan.model / "config.pbtxt", config_pbtxt(plan))

    def mark_deployed(self, plan: Plan) -> None:
        """Record that the revision was verified and serves."""
        _replace(self.home / "deployed" / f"{plan.model}.json", json.dumps({"revision": plan.revision}) + "\n")

    def deployed(self, model: str) -> Plan | None:
        """Return the plan that serves, or None if the model was never deployed."""
        path = self.home / "deployed" / f"{model}.json"
        if not path.exists():
            return None
        revision = json.loads(path.read_text())["revision"]
        return load_plan(self.models / model / str(revision) / "plan.json")

    def deployed_models(self) -> list[str]:
        """Return the names of all deployed models."""
        return sorted(path.stem for path in (self.home / "deployed").glob("*.json"))

    def history(self, model: str) -> list[Plan]:
        """Return all deployed plans, oldest first, the serving one last."""
        serving = self.deployed(model)
        if serving is None:
            return []
        numbers = [n for n in _numbers(self.models / model) if n <= serving.revision]
        return [load_plan(self.models / model / str(n) / "plan.json") for n in sorted(numbers)]

    def previous(self, model: str) -> Plan | None:
        """Return the newest plan of another version than the one that serves, None if there is none."""
        history = self.history(model)
        others = [plan for plan in history if plan.champion.version != history[-1].champion.version]
        return others[-1] if others else None

    def discard_unverified(self, model: str, reason: str = "never verified") -> None:
        """Move revisions above the deployed one to refused/, drop their artifacts, restore the config."""
        serving = self.deployed(model)
        last = serving.revision if serving else 0
        for number in (n for n in _numbers(self.models / model) if n > last):
            self._refuse(model, number, reason)
        if serving is not None:
            self.write_config(serving)
        else:
            shutil.rmtree(self.models / model, ignore_errors=True)
        used = {plan.champion.version for plan in self.history(model)}
        for folder in (self.home / "artifacts" / model).glob("*"):
            if folder.name not in used:
                shutil.rmtree(folder)

    def _refuse(self, model: str, number: int, reason: str) -> None:
        source = self.models / model / str(number)
        (source / "reason.txt").write_text(reason + "\n")
        target = self.home / "refused" / model / str(number)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(source, target)

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


def config_pbtxt(plan: Plan) -> str:
    """Return Triton's configuration of the model: its processes, dynamic batching, the newest revision only."""
    types = {"BYTES": "TYPE_STRING", "FP64": "TYPE_FP64"}
    inputs = [_tensor(field.name, types[field.dtype]) for field in plan.request]
    outputs = [_tensor(name, dtype) for name, dtype in {plan.output: "TYPE_FP32", **_OUTPUTS}.items()]
    if plan.champion.threshold is None:
        outputs.remove(_tensor("decision", _OUTPUTS["decision"]))
    if plan.views:
        outputs.append(_tensor("feature_age_seconds", "TYPE_FP32", len(plan.views)))
    return "\n".join(
        [
            f'name: "{plan.model}"',
            'backend: "python"',
            f"max_batch_size: {MAX_BATCH}",
            f"input [\n{_joined(inputs)}\n]",
            f"output [\n{_joined(outputs)}\n]",
            f"instance_group [ {{ count: {plan.processes}, kind: KIND_CPU }} ]",
            f"dynamic_batching {{ default_queue_policy {{ {_queue(plan)} }} }}",
            "version_policy { latest { num_versions: 1 } }",
            "",
        ]
    )


def _queue(plan: Plan) -> str:
    """Bound how many wait and for how long; a request may ask for less (`timeout`), as its caller does not wait on."""
    return (
        f"timeout_action: REJECT, default_timeout_microseconds: {plan.max_wait_ms * 1000}, "
        f"allow_timeout_override: true, max_queue_size: {plan.max_queue}"
    )


def _tensor(name: str, dtype: str, size: int = 1) -> str:
    return f'  {{ name: "{name}", data_type: {dtype}, dims: [ {size} ] }}'


def _joined(tensors: list[str]) -> str:
    return ",\n".join(tensors)


def _numbers(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.glob("*") if path.name.isdecimal()]


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    os.replace(temporary, path)
