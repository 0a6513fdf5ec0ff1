"""A graph in ONNX Runtime's own format beside the ONNX file: optimised once, smaller in memory, quicker to open.

Optimisations that depend on a machine are left out, so that the file may travel; answers are bit for bit those of the
ONNX file, which stays what counts: a runtime that cannot read ours opens that.
"""

from pathlib import Path

import onnxruntime as ort

SUFFIX = ".ort"


def compile_graph(onnx: Path) -> Path | None:
    """Write the graph's compiled form beside it and return that; None if ONNX Runtime cannot read the graph."""
    target, new = onnx.with_suffix(SUFFIX), onnx.with_suffix(f".new{SUFFIX}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(new)
    try:
        ort.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
    except Exception:  # onnxruntime has an exception class of its own for each way to fail; who opens the graph tells
        new.unlink(missing_ok=True)
        return None
    new.replace(target)
    return target
