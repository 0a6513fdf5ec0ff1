"""One ONNX graph a model: raw values in, calibrated answer out, nothing to preprocess outside.

Here: exporting a FittedModel and proving the file equal to it. Not here: scoring (ml/scoring.py) and
registering (ml/registry.py).
"""

import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from ml.encoding import FIRST_KNOWN, MISSING, UNKNOWN, Encoding, Input, Vocabulary
from ml.scoring import TOLERANCE as TOLERANCE
from ml.scoring import score
from ml.training import FittedModel

if TYPE_CHECKING:
    import onnx

_INDEX = "__index"
_ML_DOMAIN = "ai.onnx.ml"
_ML_OPSET = 3
_IR_VERSION = 10  # old enough for every ONNX Runtime from 1.18 on
_OPSET = 20
_NEVER_SEEN = "\N{SNOWMAN} never seen"


def export(model: FittedModel, path: Path) -> None:
    """Write the model as one ONNX file, weights included.

    Inputs, each [N, 1], in the spec's order: numeric FLOAT (NaN is missing), categorical STRING ("" is
    missing, unseen values are allowed), time DOUBLE (seconds since the epoch, NaN is missing). Output:
    the task's, `probability` or `value`, FLOAT [N, 1].
    """
    import onnx

    graph = _RawValues(model).cpu().eval()
    exported = _torch_graph(graph, model.encoding.inputs, model.task.output)
    for vocabulary in model.encoding.categorical:
        _look_up(exported, vocabulary)
    _order_inputs(exported, model.encoding)
    _forget_source(exported)
    exported.opset_import.append(onnx.helper.make_opsetid(_ML_DOMAIN, _ML_OPSET))
    exported.ir_version = _IR_VERSION
    onnx.checker.check_model(exported, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(exported.SerializeToString())


def verify(model: FittedModel, path: Path, rows: pl.DataFrame) -> float:
    """Return the largest difference of an answer between torch and the ONNX file.

    Asked with `rows` (training-set columns), the same rows with each column missing in turn, with all
    missing, and with categories never seen. Raises ValueError if it exceeds TOLERANCE.
    """
    asked = probe_rows(model.encoding, rows)
    difference = float(np.abs(model.predict(asked) - score(path, asked)).max()) / model.spread
    if not difference <= TOLERANCE:
        raise ValueError(f"{path} differs from torch by {difference:.2e} (at most {TOLERANCE:.0e}); do not serve it")
    return difference


def probe_rows(encoding: Encoding, rows: pl.DataFrame) -> pl.DataFrame:
    """Return `rows`, and up to 50 again with each input missing, all missing, and categories never seen."""
    columns = [entry.name for entry in encoding.inputs]
    known, few = rows.select(columns), rows.select(columns).head(50)
    missing = [few.with_columns(pl.lit(None, dtype=few.schema[name]).alias(name)) for name in columns]
    nothing = few.with_columns(pl.lit(None, dtype=kind).alias(name) for name, kind in few.schema.items())
    unseen = few.with_columns(pl.lit(_NEVER_SEEN).alias(entry.column) for entry in encoding.categorical)
    return pl.concat([known, *missing, nothing, unseen])


class _RawValues(nn.Module):
    """The network with one [N, 1] input a raw value (categories as indices) and an answer [N, 1]."""

    def __init__(self, model: FittedModel) -> None:
        super().__init__()
        self.network, self.task = model.network, model.task
        encoding = model.encoding
        names = [entry.name for entry in encoding.inputs]
        self._categorical = [names.index(entry.column) for entry in encoding.categorical]
        self._numeric = [names.index(entry.column) for entry in encoding.numeric]
        self._times = [names.index(name) for name in encoding.times]

    def forward(self, *columns: Tensor) -> Tensor:
        """Return answers, float32 [N, 1], of raw values [N, 1] in the order of the inputs."""
        blocks = [
            _side_by_side(columns, self._categorical, torch.int64),
            _side_by_side(columns, self._numeric, torch.float32),
            _side_by_side(columns, self._times, torch.float64),
        ]
        return self.task.answer(self.network(*blocks)).unsqueeze(1)


def _side_by_side(columns: tuple[Tensor, ...], chosen: list[int], kind: torch.dtype) -> Tensor:
    if not chosen:
        return columns[0].new_zeros((columns[0].shape[0], 0), dtype=kind)
    return torch.cat([columns[index] for index in chosen], dim=1)


def _torch_graph(graph: nn.Module, inputs: tuple[Input, ...], output: str) -> "onnx.ModelProto":
    import onnx

    kinds = {"categorical": torch.int64, "numeric": torch.float32, "time": torch.float64}
    example = tuple(torch.ones((3, 1), dtype=kinds[entry.kind]) for entry in inputs)
    names = [entry.name + _INDEX * (entry.kind == "categorical") for entry in inputs]
    written = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            example,
            written,
            # The newer exporter gives the same graph and takes 14 seconds of processor time for it, this one 0.3.
            dynamo=False,
            opset_version=_OPSET,
            input_names=names,
            output_names=[output],
            dynamic_axes={name: {0: "rows"} for name in (*names, output)},
        )
    return onnx.load_from_string(written.getvalue())


def _look_up(model: "onnx.ModelProto", vocabulary: Vocabulary) -> None:
    """Put a LabelEncoder from the raw string to its index in front of the graph."""
    from onnx import TensorProto, helper

    index = vocabulary.column + _INDEX
    keys = ["", *vocabulary.known]
    node = helper.make_node(
        "LabelEncoder",
        [vocabulary.column],
        [index],
        name=f"look_up_{vocabulary.column}",
        domain=_ML_DOMAIN,
        keys_strings=keys,
        values_int64s=[MISSING, *range(FIRST_KNOWN, FIRST_KNOWN + len(vocabulary.known))],
        default_int64=UNKNOWN,
    )
    model.graph.node.insert(0, node)
    replaced = next(entry for entry in model.graph.input if entry.name == index)
    model.graph.input.remove(replaced)
    model.graph.input.append(helper.make_tensor_value_info(vocabulary.column, TensorProto.STRING, ["rows", 1]))


def _forget_source(model: "onnx.ModelProto") -> None:
    """Drop the exporter's notes on each node: they name files of the machine that trained."""
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""


def _order_inputs(model: "onnx.ModelProto", encoding: Encoding) -> None:
    by_name = {entry.name: entry for entry in model.graph.input}
    ordered = [by_name[entry.name] for entry in encoding.inputs]
    del model.graph.input[:]
    model.graph.input.extend(ordered)
