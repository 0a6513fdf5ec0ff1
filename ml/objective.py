"""What a network is trained to say: its task's target, and auxiliary numbers that become known with the label.

A yes or no tells little of a row; the number behind it tells more (Caruana, Multitask Learning, 1997). Auxiliary
numbers shape the network in training only and are in no answer, no metric and no graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.spec import ModelSpec
from ml.task import Target, Task, task_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Objective:
    """A task, where its training labels lie, and the auxiliary columns, each with its spread in training rows."""

    task: Task
    label: str
    target: Target
    auxiliary: tuple[tuple[str, float], ...]
    auxiliary_weight: float

    @property
    def width(self) -> int:
        """How many outputs are trained: the answer and the auxiliary ones, 1 + A."""
        return 1 + len(self.auxiliary)

    def targets(self, rows: pl.DataFrame) -> NDArray[np.float32]:
        """Return [N, 1 + A] of N rows with training-set columns: the target, then the auxiliary ones (NaN: null)."""
        label = (rows[self.label].cast(pl.Float64).to_numpy() - self.target.center) / self.target.spread
        numbers = [rows[column].cast(pl.Float64).fill_null(np.nan).to_numpy() / far for column, far in self.auxiliary]
        return np.stack([label, *(np.sign(n) * np.log1p(np.abs(n)) for n in numbers)], axis=1).astype(np.float32)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the task's mean loss plus the weighted loss of the auxiliary numbers; both are [N, 1 + A]."""
        from torch.nn.functional import smooth_l1_loss

        loss = self.task.loss(outputs[:, 0], targets[:, 0])
        if not self.auxiliary:
            return loss
        known = ~targets[:, 1:].isnan()
        gap = smooth_l1_loss(outputs[:, 1:], targets[:, 1:].nan_to_num(), reduction="none") * known
        return loss + self.auxiliary_weight * gap.sum() / known.sum().clamp(min=1)


def objective_of(spec: ModelSpec, rows: pl.DataFrame) -> Objective:
    """Return a spec's objective, its targets scaled by training `rows`. Raises ValueError if a column is missing."""
    outcome, task = spec.outcome, task_of(spec)
    absent = [column for column in (outcome.label, *outcome.auxiliary) if column not in rows.columns]
    if absent:
        raise ValueError(f"training set of model {spec.name!r} lacks {absent}; materialize it again from its spec")
    numbers = {column: np.abs(rows[column].drop_nulls().cast(pl.Float64).to_numpy()) for column in outcome.auxiliary}
    return Objective(
        task=task,
        label=outcome.label,
        target=task.target(rows[outcome.label]),
        auxiliary=tuple((name, _middle(found)) for name, found in numbers.items()),
        auxiliary_weight=spec.network.auxiliary_weight,
    )


def _middle(numbers: NDArray[np.float64]) -> float:
    return (float(np.median(numbers)) if len(numbers) else 0.0) or 1.0
