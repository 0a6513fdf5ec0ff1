"""What a replayed year was worth: each way to keep the model, on the same served rows; differences with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.replay_rivals import LOOP, Rival
from ml.bootstrap import Difference, compare
from ml.spec import ModelSpec
from ml.task import days, task_of


@dataclass(frozen=True)
class Standing:
    """One way to keep a model: score and loss on all served rows; the loop's less its own, days drawn whole."""

    rival: Rival
    score: float
    loss: float
    score_gap: Difference | None
    loss_gap: Difference | None


@dataclass(frozen=True)
class YearResult:
    """The standings on N served rows, and the loss of each way in each week (rows of `weeks`)."""

    rows: int
    standings: tuple[Standing, ...]
    weeks: pl.DataFrame

    def of(self, name: str) -> Standing:
        """Return a standing by the rival's name."""
        return next(standing for standing in self.standings if standing.rival.name == name)


def compare_year(spec: ModelSpec, served: pl.DataFrame, rivals: Sequence[Rival]) -> YearResult:
    """Compare the rivals' answers to the served rows [N, training-set columns]; one of them is the loop."""
    task, label = task_of(spec), served[spec.outcome.label].cast(pl.Float64).to_numpy()
    loop = next(rival for rival in rivals if rival.name == LOOP)
    drawn = days(spec, served)

    def gap(rival: Rival, metric: str) -> Difference | None:
        if rival is loop:
            return None
        old, new = (task.scorers(label, answers)[metric] for answers in (rival.answers, loop.answers))
        return compare(old, new, served.height, drawn)

    standings = []
    for rival in rivals:
        metrics = task.evaluate(label, rival.answers)
        loss = metrics.as_dict()[task.loss_metric]
        standings.append(Standing(rival, metrics.score, loss, gap(rival, task.score), gap(rival, task.loss_metric)))
    return YearResult(served.height, tuple(standings), _weeks(spec, served, label, rivals))


def _weeks(spec: ModelSpec, served: pl.DataFrame, label: NDArray[np.float64], rivals: Sequence[Rival]) -> pl.DataFrame:
    """Return the mean loss of each rival in each week, a row a week, a column a rival."""
    week = served[spec.outcome.prediction_time].dt.truncate("1w")
    losses = {rival.name: _losses(spec, label, rival.answers) for rival in rivals}
    frame = pl.DataFrame({"week": week, **losses})
    return frame.group_by("week").agg(pl.len().alias("rows"), *(pl.col(name).mean() for name in losses)).sort("week")


def _losses(spec: ModelSpec, label: NDArray[np.float64], answers: NDArray[np.float64]) -> NDArray[np.float64]:
    from ml.weighted import log_losses

    return log_losses(label, answers) if spec.task == "binary" else (label - answers) ** 2
