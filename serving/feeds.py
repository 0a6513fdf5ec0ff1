"""Turns a request's tensors into columns and columns into the ONNX graph's feeds. Runs inside Triton.

The graph's contract: one input [N, 1] a raw value; FLOAT with NaN for missing numbers, STRING with "" for
missing categories, DOUBLE seconds with NaN for missing times.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from ml.packed import Key, Value
from serving.plan import InputKind, Plan, Version, View

ONNX_TYPES: dict[InputKind, str] = {
    "numeric": "tensor(float)",
    "categorical": "tensor(string)",
    "time": "tensor(double)",
}

MAX_TEXT_BYTES = 1024  # far above any key or category; a longer one only costs memory, log and store
_EXACT = 2**53  # integers beyond it do not survive FP64

Texts = list[str | None]


class RequestError(ValueError):
    """A request that cannot be answered; the message names the input."""


class RequestColumns(NamedTuple):
    """A request of N rows by field: texts [N], None where "" was sent, and numbers float64 [N], NaN where missing."""

    rows: int
    texts: dict[str, Texts]
    numbers: dict[str, np.ndarray]


def request_columns(plan: Plan, tensors: Mapping[str, np.ndarray]) -> RequestColumns:
    """Return the columns of a request's tensors [N, 1] (BYTES or FP64).

    Raises RequestError naming the input that is missing, of a wrong shape, too long, not UTF-8 or infinite.
    """
    texts = {f.name: _texts(f.name, tensors) for f in plan.request if f.dtype == "BYTES"}
    numbers = {f.name: _numbers(f.name, tensors) for f in plan.request if f.dtype == "FP64"}
    sizes = {n: len(v) for n, v in texts.items()} | {n: len(v) for n, v in numbers.items()}
    if len(set(sizes.values())) != 1:
        raise RequestError(f"inputs of model {plan.model!r} differ in their number of rows: {sizes}")
    for key in (key for view in plan.views for key in view.join_keys if key.kind == "int"):
        _check_whole(key.name, numbers[key.name])
    return RequestColumns(next(iter(sizes.values())), texts, numbers)


def joined(requests: Sequence[RequestColumns]) -> RequestColumns:
    """Return the rows of several requests as those of one."""
    if len(requests) == 1:
        return requests[0]
    first = requests[0]
    texts = {name: list(chain.from_iterable(r.texts[name] for r in requests)) for name in first.texts}
    numbers = {name: np.concatenate([r.numbers[name] for r in requests]) for name in first.numbers}
    return RequestColumns(sum(r.rows for r in requests), texts, numbers)


def key_columns(views: Sequence[View], request: RequestColumns) -> dict[str, Sequence[Key]]:
    """Return the join keys of views as columns [N]; numbers are whole (`request_columns` saw to it)."""
    columns: dict[str, Sequence[Key]] = {}
    for key in (key for view in views for key in view.join_keys):
        if key.name not in columns:
            columns[key.name] = request.texts[key.name] if key.kind == "string" else _whole(request.numbers[key.name])
    return columns


def text_feed(values: Sequence[Value] | np.ndarray) -> np.ndarray:
    """Return one graph input [N, 1] of texts, None for missing."""
    return np.array(["" if value is None else value for value in values], dtype=object).reshape(-1, 1)


def check_graph(plan: Plan, version: Version, inputs: Mapping[str, str], outputs: Sequence[str]) -> None:
    """Raise ValueError unless a graph's inputs (name to ONNX type) and outputs are those of its version."""
    wanted: dict[str, str] = {field.column: ONNX_TYPES[field.kind] for field in version.inputs}
    wrong = sorted(name for name in wanted.keys() | inputs.keys() if wanted.get(name) != inputs.get(name))
    if wrong:
        detail = ", ".join(f"{n}: plan {wanted.get(n, 'lacks it')}, graph {inputs.get(n, 'lacks it')}" for n in wrong)
        raise ValueError(f"{version.onnx} does not fit model {plan.model!r} ({detail}); export it again")
    if plan.output not in outputs:
        raise ValueError(f"{version.onnx} has no output {plan.output!r} but {list(outputs)}; export it again")


def _values(name: str, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    if name not in tensors:
        raise RequestError(f"input {name!r} is missing")
    return tensors[name].reshape(-1)


def _texts(name: str, tensors: Mapping[str, np.ndarray]) -> Texts:
    values: list[Any] = _values(name, tensors).tolist()
    longest = max(map(len, values), default=0)
    if longest > MAX_TEXT_BYTES:
        raise RequestError(f"input {name!r} has {longest} bytes; a text has at most {MAX_TEXT_BYTES}")
    try:
        return [(value.decode() if isinstance(value, bytes) else value) or None for value in values]
    except UnicodeDecodeError as error:
        raise RequestError(f"input {name!r} is not UTF-8: {error}") from error


def _numbers(name: str, tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    values = _values(name, tensors)
    if np.isinf(values).any():
        raise RequestError(f"input {name!r} is infinite; send NaN for a missing number")
    return values


def _check_whole(name: str, values: np.ndarray) -> None:
    wrong = values[(values != np.trunc(values)) & ~np.isnan(values) | (np.abs(values) > _EXACT)]
    if len(wrong):
        raise RequestError(f"input {name!r} is {wrong[0]}; the join key is a whole number up to 2**53")


def _whole(values: np.ndarray) -> list[Key]:
    return [None if value != value else int(value) for value in values.tolist()]
