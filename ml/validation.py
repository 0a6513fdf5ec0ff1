"""How good weights are on the validation rows: calibrated first, then measured.

Here: the measure by which training stops and weights are kept. Not here: test rows and metrics (ml/candidate.py).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch

from ml.batches import Source, outputs
from ml.calibration import Calibration
from ml.network import TabularNetwork
from ml.task import Task
from ml.world import World


@dataclass(frozen=True)
class Measured:
    """Calibration (its loss is what counts) and the task's score; `largest` is the greatest raw output."""

    calibration: Calibration
    score: float
    largest: float


class Validation:
    """The validation rows; each process of `world` holds every size-th of them and all learn the same measure."""

    def __init__(self, rows: Source, task: Task, world: World) -> None:
        self.rows, self.task, self.world = rows, task, world
        self._target = world.interleaved(torch.cat([part.target[:, 0] for part in rows.in_order()]))

    def measure(self, network: TabularNetwork) -> Measured:
        """Return how good the network's weights are; its own calibration must be that of a new network."""
        raw = self.world.interleaved(outputs(network, self.rows))
        found = None
        if self.world.leads:
            largest = raw.abs().max().item()
            found = Measured(Calibration(1.0, 0.0, math.nan), math.nan, largest)
            if math.isfinite(largest):
                calibration = self.task.calibrate(raw, self._target)
                answers = self.task.answer(raw * calibration.scale + calibration.shift)
                score = self.task.scorer(self._target.numpy(), answers.numpy())
                found = Measured(calibration, float(score(np.ones(len(raw)))), largest)
        measured: Measured = self.world.same(found)
        return measured
