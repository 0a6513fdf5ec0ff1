"""Scoring rows with a model's ONNX file: the same file, the same inputs as in serving.

Needs onnxruntime and polars, not torch.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.rows import Rows

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

TOLERANCE = 1e-5  # largest difference of an answer between torch and ONNX, of a value in deviations of the label

_ROWS_AT_ONCE = 2_048  # few enough for what lies between the layers to stay in a processor's caches


def open_session(path: Path, threads: int = 0) -> "InferenceSession":
    """Open a model's ONNX file on the CPU, with so many threads (0: as ONNX Runtime likes).

    Raises LookupError if it is missing or damaged.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # to wait in a loop takes others' cores
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has an exception class of its own for each way to fail
        raise LookupError(f"model file {path} cannot be opened ({error}); train or register the model again") from error


def score(path: Path, rows: Rows) -> NDArray[np.float32]:
    """Return the ONNX file's answers [N] of N rows with training-set columns.

    Raises LookupError if the file cannot be opened, ValueError that names the columns that the model
    reads and the rows lack.
    """
    return answers(open_session(path), rows)


def answers(session: "InferenceSession", rows: Rows) -> NDArray[np.float32]:
    """Return the answers [N] of an open session; see `score`."""
    types = {entry.name: entry.type for entry in session.get_inputs()}
    parts = [session.run(None, feed(types, part))[0][:, 0] for part in rows.iter_slices(_ROWS_AT_ONCE)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)


def answers_fed(session: "InferenceSession", given: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Return an open ONNX file's answers [N] on all of its inputs, each [N, 1]; N is at least 1."""
    count = len(next(iter(given.values())))
    blocks = [slice(start, start + _ROWS_AT_ONCE) for start in range(0, count, _ROWS_AT_ONCE)]
    return np.concatenate(
        [session.run(None, {name: part[rows] for name, part in given.items()})[0][:, 0] for rows in blocks]
    )


def example_feed(path: Path, rows: pl.DataFrame, count: int) -> dict[str, NDArray[Any]]:
    """Return the ONNX file's inputs, each [count, 1], of the first `count` rows."""
    types = {entry.name: entry.type for entry in open_session(path).get_inputs()}
    return feed(types, rows.head(count))


def feed(types: Mapping[str, str], rows: pl.DataFrame) -> dict[str, NDArray[Any]]:
    """Return the graph's inputs, each [N, 1], of N rows; null becomes NaN, a missing string "".

    `types` maps each input to ONNX Runtime's name of its type: tensor(float), tensor(double) or
    tensor(string).
    """
    absent = [name for name in types if name not in rows.columns]
    if absent:
        raise ValueError(f"rows lack {absent}, which the model reads; give all training-set columns")
    return {name: _array(rows[name], kind).reshape(-1, 1) for name, kind in types.items()}


def _array(values: pl.Series, kind: str) -> NDArray[Any]:
    if kind == "tensor(string)":
        return np.array(values.cast(pl.String).fill_null("").to_list(), dtype=object)
    numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return numbers.astype({"tensor(float)": np.float32, "tensor(double)": np.float64}[kind])
