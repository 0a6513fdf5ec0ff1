"""Turns a request's tensors into rows and rows into the ONNX graph's feeds. Runs inside Triton.

The graph's contract: one input [N, 1] a raw value; FLOAT with NaN for missing numbers, STRING with "" for
missing categories, DOUBLE seconds with NaN for missing times.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ml.packed import Key, Value
from serving.plan import InputKind, Plan

ONNX_TYPES: dict[InputKind, str] = {
    "numeric": "tensor(float)",
    "categorical": "tensor(string)",
    "time": "tensor(double)",
}

RequestRow = dict[str, str | float | None]

_EXACT = 2**53  # integers beyond it do not survive FP64


class RequestError(ValueError):
    """A request that cannot be answered; the message names the input."""


def request_rows(plan: Plan, tensors: Mapping[str, np.ndarray]) -> list[RequestRow]:
    """Return one dict a row from tensors [N, 1] (BYTES or FP64); None where "" or NaN was sent.

    Raises RequestError naming the input that is missing, of a wrong shape, not UTF-8 or infinite.
    """
    columns = {field.name: _column(field.name, field.dtype, tensors) for field in plan.request}
    sizes = {name: len(values) for name, values in columns.items()}
    if len(set(sizes.values())) != 1:
        raise RequestError(f"inputs of model {plan.model!r} differ in their number of rows: {sizes}")
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    for key in (key for view in plan.views for key in view.join_keys if key.kind == "int"):
        for row in rows:
            _check_integer(key.name, row[key.name])
    return rows


def key_columns(plan: Plan, rows: Sequence[RequestRow]) -> dict[str, list[Key]]:
    """Return the join keys of all views as columns, one entry a row; numbers are whole (`request_rows` saw to it)."""
    columns: dict[str, list[Key]] = {}
    for key in (key for view in plan.views for key in view.join_keys):
        if key.name not in columns:
            values: list[Any] = [row[key.name] for row in rows]
            columns[key.name] = [None if v is None else int(v) for v in values] if key.kind == "int" else values
    return columns


def feed(kind: InputKind, values: Sequence[Value]) -> np.ndarray:
    """Return one graph input [N, 1] from raw values, None for missing."""
    if kind == "categorical":
        return np.array([["" if value is None else str(value)] for value in values], dtype=object)
    dtype = np.float64 if kind == "time" else np.float32
    return np.array([[math.nan if value is None else float(value)] for value in values], dtype=dtype)


def check_graph(plan: Plan, inputs: Mapping[str, str], outputs: Sequence[str]) -> None:
    """Raise ValueError unless the graph's inputs (name to ONNX type) and outputs are those of the plan."""
    wanted: dict[str, str] = {field.column: ONNX_TYPES[field.kind] for field in plan.inputs}
    wrong = sorted(name for name in wanted.keys() | inputs.keys() if wanted.get(name) != inputs.get(name))
    if wrong:
        detail = ", ".join(f"{n}: plan {wanted.get(n, 'lacks it')}, graph {inputs.get(n, 'lacks it')}" for n in wrong)
        raise ValueError(f"{plan.champion.onnx} does not fit model {plan.model!r} ({detail}); export it again")
    if plan.output not in outputs:
        raise ValueError(f"{plan.champion.onnx} has no output {plan.output!r} but {list(outputs)}; export it again")


def _column(name: str, dtype: str, tensors: Mapping[str, np.ndarray]) -> list[str | float | None]:
    if name not in tensors:
        raise RequestError(f"input {name!r} is missing")
    values: list[Any] = tensors[name].reshape(-1).tolist()
    try:
        if dtype == "BYTES":
            return [(value.decode() if isinstance(value, bytes) else value) or None for value in values]
    except UnicodeDecodeError as error:
        raise RequestError(f"input {name!r} is not UTF-8: {error}") from error
    if any(math.isinf(value) for value in values):
        raise RequestError(f"input {name!r} is infinite; send NaN for a missing number")
    return [None if math.isnan(value) else value for value in values]


def _check_integer(name: str, value: str | float | None) -> None:
    if isinstance(value, float) and (not value.is_integer() or abs(value) > _EXACT):
        raise RequestError(f"input {name!r} is {value}; the join key is a whole number up to 2**53")
