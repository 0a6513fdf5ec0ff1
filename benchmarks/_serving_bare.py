"""A Triton model that only scores: the same graph behind the Python backend, raw values in, the output out.

Runs inside Triton, in the serving environment; `write` puts it into a model repository.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

NAME = "bare"


def write(models: Path, onnx: Path, inputs: Mapping[str, str], output: str, max_batch: int) -> None:
    """Write the model: `inputs` gives the Triton type of each input [N, 1] of the graph."""
    folder = models / NAME / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text("from benchmarks._serving_bare import TritonPythonModel as TritonPythonModel\n")
    (folder / "graph.json").write_text(json.dumps({"onnx": str(onnx), "output": output}))
    tensors = ",\n".join(
        f'  {{ name: "{name}", data_type: TYPE_{"STRING" if dtype == "BYTES" else dtype}, dims: [ 1 ] }}'
        for name, dtype in inputs.items()
    )
    (folder.parent / "config.pbtxt").write_text(
        f'name: "{NAME}"\nbackend: "python"\nmax_batch_size: {max_batch}\ninput [\n{tensors}\n]\n'
        f'output [ {{ name: "{output}", data_type: TYPE_FP32, dims: [ 1 ] }} ]\n'
        "instance_group [ { count: 1, kind: KIND_CPU } ]\ndynamic_batching { }\n"
    )


def add_version(models: Path, number: int) -> None:
    """Put one more version beside those there are; Triton takes the newest at its next load."""
    new = models / NAME / f".{number}"
    shutil.copytree(models / NAME / "1", new)
    new.rename(models / NAME / str(number))


def copy(models: Path, name: str, onnx: Path) -> None:
    """Write the model once more, under another name, with another graph of the same inputs and output."""
    folder = models / name
    shutil.copytree(models / NAME, folder)
    told = json.loads((folder / "1" / "graph.json").read_text())
    (folder / "1" / "graph.json").write_text(json.dumps({**told, "onnx": str(onnx)}))
    config = folder / "config.pbtxt"
    config.write_text(config.read_text().replace(f'name: "{NAME}"', f'name: "{name}"', 1))


class TritonPythonModel:
    """Scores a batch of requests in one call of onnxruntime."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the graph with one thread, as the router does."""
        import onnxruntime as ort

        told = json.loads((Path(args["model_repository"]) / args["model_version"] / "graph.json").read_text())
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(told["onnx"], options, providers=["CPUExecutionProvider"])
        self.output = told["output"]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Return a response a request."""
        import triton_python_backend_utils as pb_utils

        tensors = [{tensor.name(): _plain(tensor.as_numpy()) for tensor in request.inputs()} for request in requests]
        feeds = tensors[0] if len(tensors) == 1 else {n: np.concatenate([t[n] for t in tensors]) for n in tensors[0]}
        (value,) = self.session.run([self.output], feeds)
        ends = np.cumsum([len(next(iter(t.values()))) for t in tensors])[:-1]
        return [pb_utils.InferenceResponse([pb_utils.Tensor(self.output, part)]) for part in np.split(value, ends)]


def _plain(column: Any) -> Any:
    """Return texts as onnxruntime takes them; bytes would be other texts to it."""
    if column.dtype != object:
        return column
    return np.array([value.decode() for value in column.reshape(-1)], dtype=object).reshape(column.shape)
