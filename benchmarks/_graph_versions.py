"""Versions of a trained graph that are no copies of each other: every weight matrix moved by a little noise."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

NOISE = 0.01


def write_version(graph: Path, number: int, target: Path) -> Path:
    """Write `graph` with weights of its own, drawn by `number`, to `target` and return that.

    Only floats of two dimensions or more are moved: tables of bounds must stay in order.
    """
    random = np.random.default_rng(number)
    model = onnx.load(graph)
    moved = 0
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.ndim > 1:
            noise = 1 + NOISE * random.standard_normal(values.shape, dtype=np.float32)
            weight.CopyFrom(numpy_helper.from_array(values * noise, weight.name))
            moved += values.size
    if not moved:
        raise LookupError(f"{graph} holds no weight matrix; nothing to make versions of")
    target.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, target)
    return target
