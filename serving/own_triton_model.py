"""Serves one ONNX graph by Triton's Python backend, where Triton has none of ONNX Runtime's. Runs inside Triton."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

from serving.sessions import open_session


class TritonPythonModel:
    """Raw feature values in, the graph's output out."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the graph with one thread."""
        told = json.loads((Path(args["model_repository"]) / args["model_version"] / "graph.json").read_text())
        self.session: ort.InferenceSession = open_session(told["onnx"])
        self.output: str = told["output"]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Score a batch of requests in one run."""
        tensors = [{t.name(): _texts(t.as_numpy()) for t in request.inputs()} for request in requests]
        feeds = {name: np.concatenate([one[name] for one in tensors]) for name in tensors[0]}
        (value,) = self.session.run([self.output], feeds)
        ends = np.cumsum([len(next(iter(one.values()))) for one in tensors])[:-1]
        return [pb_utils.InferenceResponse([pb_utils.Tensor(self.output, part)]) for part in np.split(value, ends)]


def _texts(column: np.ndarray) -> np.ndarray:
    """Return texts as ONNX Runtime takes them; bytes would be other texts to it."""
    if column.dtype != object:
        return column
    return np.array([value.decode() for value in column.reshape(-1)], dtype=object).reshape(column.shape)
