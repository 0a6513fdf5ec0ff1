"""A version as a Triton model of its own, which the router calls inside the server: for hot or large graphs.

Here: its name, configuration and files, for Triton's ONNX Runtime backend or, where Triton has none, for its Python
backend (`own_triton_model`). Who calls it is `triton_model`; when it is loaded, `plan_change`'s business.
"""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Literal

from serving.plan import MAX_BATCH, Input, Output, Version

Backend = Literal["onnxruntime", "python"]
_BACKEND = Path("server", "own_backend")

_TYPES = {"numeric": "TYPE_FP32", "categorical": "TYPE_STRING", "time": "TYPE_FP64"}
_MODEL = '"""A version of its own."""\n\nfrom serving.own_triton_model import TritonPythonModel as TritonPythonModel\n'


def own_name(model: str, version: str) -> str:
    """Return the name in Triton of a version that is a model of its own."""
    return f"{model}__{version}"


def backend_of(backends: Path) -> Backend:
    """Return what serves a graph in the Triton with these backends."""
    return "onnxruntime" if (backends / "onnxruntime").is_dir() else "python"


def keep_backend(serving_home: Path, backends: Path) -> None:
    """Tell the platform, which sees the serving home and not a replica's Triton, what serves a graph there."""
    (serving_home / _BACKEND).parent.mkdir(parents=True, exist_ok=True)
    (serving_home / _BACKEND).write_text(backend_of(backends))


def kept_backend(serving_home: Path) -> Backend:
    """Return what the replica that started last told."""
    path = serving_home / _BACKEND
    return "onnxruntime" if path.exists() and path.read_text() == "onnxruntime" else "python"


def own_config(name: str, version: Version, output: Output, backend: Backend) -> str:
    """Return Triton's configuration of a version's graph: the same tensors whichever backend serves it."""
    inputs = ",\n".join(_tensor(field) for field in version.inputs)
    return (
        f'name: "{name}"\nbackend: "{backend}"\nmax_batch_size: {MAX_BATCH}\ninput [\n{inputs}\n]\n'
        f'output [ {{ name: "{output}", data_type: TYPE_FP32, dims: [ 1 ] }} ]\n'
        "instance_group [ { count: 1, kind: KIND_CPU } ]\ndynamic_batching { }\n" + _parameters(backend)
    )


def write_own(models: Path, version: Version, output: Output, backend: Backend) -> None:
    """Put the model into Triton's repository, unless it is there as it should be. It appears by rename."""
    target = models / version.own
    config = own_config(version.own, version, output, backend)
    if target.exists() and (target / "config.pbtxt").read_text() == config:
        return
    folder = Path(tempfile.mkdtemp(dir=models.parent))
    folder.chmod(0o755)
    (folder / "1").mkdir()
    (folder / "config.pbtxt").write_text(config)
    if backend == "onnxruntime":
        os.link(version.onnx, folder / "1" / "model.onnx")
    else:
        (folder / "1" / "model.py").write_text(_MODEL)
        (folder / "1" / "graph.json").write_text(json.dumps({"onnx": version.onnx, "output": output}))
    shutil.rmtree(target, ignore_errors=True)
    os.rename(folder, target)


def _tensor(field: Input) -> str:
    return f'  {{ name: "{field.column}", data_type: {_TYPES[field.kind]}, dims: [ 1 ] }}'


def _parameters(backend: Backend) -> str:
    """One thread, as in the router: the cores are shared by requests, not by the steps of one."""
    if backend == "python":
        return ""
    threads = ("intra_op_thread_count", "inter_op_thread_count")
    return "".join(f'parameters {{ key: "{name}" value: {{ string_value: "1" }} }}\n' for name in threads)
