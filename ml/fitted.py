"""What fitting leaves behind: a calibrated network that answers, and what each epoch did.

Here: results only. Not here: how they came about (ml/training.py, ml/loop.py) and files (ml/export.py).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.batches import Resident, encoded, outputs
from ml.encoding import Encoding
from ml.network import TabularNetwork
from ml.task import Task

StoppedBy = Literal["epochs", "patience", "time"]


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training rows did; losses are the task's means, the score is the task's.

    The validation loss is the one after calibration: the base rate of the validation window must not
    decide which weights are kept.
    """

    number: int
    planned: int
    train_loss: float
    validation_loss: float
    validation_score: float
    seconds: float
    best: bool


@dataclass(frozen=True)
class FittedModel:
    """A calibrated network, what it learned about raw values, and how fitting went.

    `spread` is how far training labels spread, in their unit (1 of a binary task). `seconds` are those of all tries.
    """

    network: TabularNetwork
    encoding: Encoding
    task: Task
    spread: float
    epochs: tuple[Epoch, ...]
    stopped_by: StoppedBy
    seconds: float

    @property
    def best(self) -> Epoch:
        """The epoch whose weights were kept."""
        return min(self.epochs, key=lambda epoch: epoch.validation_loss)

    def predict(self, rows: pl.DataFrame) -> NDArray[np.float32]:
        """Return calibrated answers [N] for N rows with training-set columns."""
        batch = encoded(self.encoding, rows, np.zeros((rows.height, 1), np.float32)).to(self.network.scale.device)
        return self.task.answer(outputs(self.network, Resident(batch, seed=0))).cpu().numpy()
