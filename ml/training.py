"""Fitting a model's network on training rows, stopped and calibrated by validation rows.

Here: the loop, its schedule, early stopping and calibration; data in, FittedModel out. Not here:
reading rows, MLflow, files, command lines (ml/train.py).
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml.calibration import Calibration
from ml.encoding import Encoding, learn_encoding, to_arrays
from ml.network import TabularNetwork
from ml.objective import Objective, objective_of
from ml.spec import ModelSpec
from ml.task import Task

_WARM_UP = 0.05  # share of the steps in which the learning rate climbs
_EVALUATION_ROWS = 32_768


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
class Batch:
    """Rows on the device: the network's three inputs and the targets, float32 [N, 1 + A] (ml/objective.py)."""

    categorical: Tensor
    numeric: Tensor
    times: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def take(self, index: Tensor | slice) -> "Batch":
        """Return the rows at `index`."""
        return Batch(self.categorical[index], self.numeric[index], self.times[index], self.target[index])


@dataclass(frozen=True)
class FittedModel:
    """A calibrated network, what it learned about raw values, and how fitting went.

    `spread` is how far training labels spread, in their unit (1 of a binary task).
    """

    network: TabularNetwork
    encoding: Encoding
    task: Task
    spread: float
    epochs: tuple[Epoch, ...]
    stopped_by: Literal["epochs", "patience", "time"]
    seconds: float

    @property
    def best(self) -> Epoch:
        """The epoch whose weights were kept."""
        return min(self.epochs, key=lambda epoch: epoch.validation_loss)

    def predict(self, rows: pl.DataFrame) -> NDArray[np.float32]:
        """Return calibrated answers [N] for N rows with training-set columns."""
        batch = _batch(self.encoding, rows, np.zeros((rows.height, 1), np.float32), self.network.scale.device)
        return self.task.answer(_outputs(self.network, batch)).cpu().numpy()


def fit(
    spec: ModelSpec,
    train: pl.DataFrame,
    validation: pl.DataFrame,
    device: torch.device,
    progress: Callable[[Epoch], None] = lambda epoch: None,
    max_seconds: float = 60.0,
) -> FittedModel:
    """Fit `spec`'s network on `train` and calibrate it on `validation`.

    Both hold training-set columns and labels that the task can learn from (ml/split.py). The same rows, spec,
    seed and machine give the same model, unless `max_seconds` cut the epochs short. Raises FloatingPointError if
    the loss is no number, ValueError if a column is missing or cannot be an input.
    """
    started = time.monotonic()
    encoding, objective = learn_encoding(spec, train), objective_of(spec, train)
    learn, check = (_batch(encoding, rows, objective.targets(rows), device) for rows in (train, validation))
    with torch.random.fork_rng(devices=_cuda(device)):
        torch.manual_seed(spec.training.seed)
        network = TabularNetwork(encoding, spec.network, len(objective.auxiliary)).to(device)
        loop = _Loop(spec, objective, network, learn, check, started + max_seconds)
        loop.run(progress)
    seconds, task, spread = time.monotonic() - started, objective.task, objective.target.spread
    return FittedModel(network.eval(), encoding, task, spread, tuple(loop.epochs), loop.stopped_by, seconds)


class _Loop:
    """One fitting: epochs over shuffled batches until the schedule, patience or time ends it.

    What is validated and kept is a running average of the weights over the steps: it varies less with
    the seed than the last weights (polynomial-decay averaging: Shamir and Zhang, Stochastic Gradient
    Descent for Non-smooth Optimization, ICML 2013, section 4).
    """

    def __init__(
        self,
        spec: ModelSpec,
        objective: Objective,
        network: TabularNetwork,
        learn: Batch,
        check: Batch,
        deadline: float,
    ) -> None:
        self.spec, self.objective, self.task, self.network = spec, objective, objective.task, network
        self.learn, self.check, self.deadline = learn, check, deadline
        self.epochs: list[Epoch] = []
        self.stopped_by: Literal["epochs", "patience", "time"] = "epochs"
        settings = spec.training
        self._planned = settings.epochs
        self._steps = math.ceil(len(learn) / settings.batch_size)
        self._shuffle = torch.Generator().manual_seed(settings.seed)
        self._optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._average = copy.deepcopy(network)
        self._best = _copy(network), Calibration(1.0, 0.0, math.inf)

    def run(self, progress: Callable[[Epoch], None]) -> None:
        """Train until something stops it; leave the best epoch's weights and calibration in the network."""
        while len(self.epochs) < self._planned:
            epoch = self._epoch(time.monotonic())
            self.epochs.append(epoch)
            progress(epoch)
            if self.stopped_by == "time" or self._out_of_patience():
                break
            self._plan_for_time(epoch.seconds)
        if self.stopped_by == "epochs" and self._planned < self.spec.training.epochs:
            self.stopped_by = "time"
        weights, calibration = self._best
        self.network.load_state_dict(weights)
        center, spread = self.objective.target.center, self.objective.target.spread
        self.network.scale.fill_(calibration.scale * spread)
        self.network.shift.fill_(calibration.shift * self.spec.training.shift_kept * spread + center)

    def _epoch(self, started: float) -> Epoch:
        train_loss = self._pass_over_rows()
        raw = _outputs(self._average, self.check)
        self._finite(raw.abs().max().item(), "validation")
        calibration = self.task.calibrate(raw, self.check.target[:, 0])
        best = all(calibration.loss < epoch.validation_loss for epoch in self.epochs)
        if best:
            self._best = _copy(self._average), calibration
        return Epoch(
            number=len(self.epochs) + 1,
            planned=self._planned,
            train_loss=train_loss,
            validation_loss=calibration.loss,
            validation_score=self._score(raw * calibration.scale + calibration.shift),
            seconds=time.monotonic() - started,
            best=best,
        )

    def _score(self, calibrated: Tensor) -> float:
        target, answer = self.check.target[:, 0].cpu().numpy(), self.task.answer(calibrated).cpu().numpy()
        return self.task.scorer(target, answer)(np.ones(len(target)))

    def _pass_over_rows(self) -> float:
        self.network.train()
        order = torch.randperm(len(self.learn), generator=self._shuffle).to(self.learn.target.device)
        total = torch.zeros((), device=order.device)
        rows = 0
        for step, index in enumerate(order.split(self.spec.training.batch_size)):
            done = len(self.epochs) * self._steps + step
            self._set_learning_rate(done)
            total += self._learn_from(self.learn.take(index)) * len(index)
            self._update_average(done)
            rows += len(index)
            if time.monotonic() >= self.deadline:
                self.stopped_by = "time"
                break
        return self._finite(total.item() / rows, "training")

    def _learn_from(self, batch: Batch) -> Tensor:
        self._optimizer.zero_grad(set_to_none=True)
        outputs = self.network.outputs(batch.categorical, batch.numeric, batch.times)
        loss = self.objective.loss(outputs, batch.target)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        """Average the weights with a weight that grows with the step, so that the random start is forgotten."""
        torch._foreach_lerp_(list(self._average.parameters()), list(self.network.parameters()), 2 / (step + 2))

    def _set_learning_rate(self, step: int) -> None:
        done = step / (self._planned * self._steps)
        rise, fall = done / _WARM_UP, 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        for group in self._optimizer.param_groups:
            group["lr"] = self.spec.training.learning_rate * min(rise + 0.01, fall)

    def _out_of_patience(self) -> bool:
        best = max(epoch.number for epoch in self.epochs if epoch.best)
        if len(self.epochs) - best < self.spec.training.patience:
            return False
        self.stopped_by = "patience"
        return True

    def _plan_for_time(self, epoch_seconds: float) -> None:
        """Plan fewer epochs when the rest would not fit, so that the learning rate still comes down."""
        fitting = len(self.epochs) + int((self.deadline - time.monotonic()) / max(epoch_seconds, 1e-9))
        if fitting < self._planned:
            self._planned = max(fitting, len(self.epochs))

    def _finite(self, loss: float, which: str) -> float:
        if math.isfinite(loss):
            return loss
        raise FloatingPointError(
            f"{which} loss of model {self.spec.name!r} is {loss} in epoch {len(self.epochs) + 1}; "
            f"lower training.learning_rate (now {self.spec.training.learning_rate})"
        )


def _batch(encoding: Encoding, rows: pl.DataFrame, target: NDArray[np.float32], device: torch.device) -> Batch:
    arrays = to_arrays(encoding, rows)
    return Batch(
        torch.from_numpy(arrays.categorical).to(device),
        torch.from_numpy(arrays.numeric).to(device),
        torch.from_numpy(arrays.times).to(device),
        torch.from_numpy(target).to(device),
    )


@torch.no_grad()
def _outputs(network: TabularNetwork, batch: Batch) -> Tensor:
    network.eval()
    parts = [batch.take(slice(i, i + _EVALUATION_ROWS)) for i in range(0, len(batch), _EVALUATION_ROWS)]
    return torch.cat([network(part.categorical, part.numeric, part.times) for part in parts])


def _copy(network: TabularNetwork) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _cuda(device: torch.device) -> list[torch.device]:
    return [device] if device.type == "cuda" else []
