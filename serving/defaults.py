"""What stands for features that were not read: rows of the training set, over which the answer is averaged.

A version's file holds a few real rows of what its views gave in training, columns that belong together; instants are
seconds after the question. Averaging over them is answering "not knowing the features" (partial dependence, Friedman
2001); one median a column would be a row that never was. Runs in the serving environment; made in `build_defaults`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from serving.plan import Input

FILE = "defaults.json"


class Defaults:
    """The rows of one version, by input of its graph."""

    def __init__(self, path: Path, inputs: Sequence[Input]) -> None:
        """Read the file. Raises ValueError naming it if it is not that of these inputs."""
        try:
            told = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} holds no rows to answer with while features are not read: {error}") from error
        wanted = [field for field in inputs if field.view is not None]
        if sorted(told) != sorted(field.column for field in wanted) or len({len(c) for c in told.values()}) != 1:
            raise ValueError(f"{path} holds {sorted(told)}, not the features of its version; deploy it again")
        self._columns = {field.column: _column(field, told[field.column]) for field in wanted}
        self._times = {field.column for field in wanted if field.kind == "time"}
        self.rows = len(next(iter(told.values())))

    def feeds(self, feeds: Mapping[str, np.ndarray], now: float) -> dict[str, np.ndarray]:
        """Return feeds [N * rows, 1]: each of the N rows once with every row of ours, at the instant `now`."""
        count = len(next(iter(feeds.values())))
        spread = {name: np.repeat(column, self.rows, axis=0) for name, column in feeds.items()}
        for name, column in self._columns.items():
            spread[name] = np.tile(column + now if name in self._times else column, (count, 1))
        return spread

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the answers [N] from those [N * rows] to `feeds`."""
        return values.reshape(-1, self.rows).mean(axis=1, dtype=np.float64).astype(values.dtype)


def _column(field: Input, values: Sequence[float | str | None]) -> np.ndarray:
    if field.kind == "categorical":
        return np.array(["" if value is None else value for value in values], dtype=object).reshape(-1, 1)
    numbers = [np.nan if value is None else value for value in values]
    return np.array(numbers, dtype=np.float64 if field.kind == "time" else np.float32).reshape(-1, 1)
