"""What an ONNX graph reads, as the UI's column table: from the file itself."""

from pathlib import Path
from typing import Any


def graph_inputs(path: Path) -> dict[str, str]:
    """Return the type of each input of the graph in a file, in order, such as FLOAT [rows, 1]."""
    import onnx

    inputs = onnx.load(path, load_external_data=False).graph.input
    return {entry.name: _type(entry.type.tensor_type) for entry in inputs}


def _type(tensor: Any) -> str:
    import onnx

    shape = ", ".join(str(part.dim_param or part.dim_value) for part in tensor.shape.dim)
    return f"{onnx.TensorProto.DataType.Name(tensor.elem_type)} [{shape}]"
