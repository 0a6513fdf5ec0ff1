"""What kind of answer a model gives, and what follows from it: labels, loss, calibration, metrics, the score.

Here: the two tasks behind one interface; nobody else asks what `spec.task` is. Not here: the metrics themselves
(ml/evaluation.py) and bounds on them (checks/).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from ml.bootstrap import Scorer
from ml.evaluation import (
    BinaryMetrics,
    RankedScores,
    RegressionMetrics,
    SquaredErrors,
    checked_binary,
    checked_regression,
    evaluate_binary,
    evaluate_regression,
)
from ml.spec import ModelSpec
from ml.weighted import AveragePrecision, CalibrationError, WeightedMean, log_losses

if TYPE_CHECKING:  # torch is slow to import, and checks ask a task for labels and metrics only
    from torch import Tensor

    from ml.calibration import Calibration

Metrics = BinaryMetrics | RegressionMetrics


@dataclass(frozen=True)
class Target:
    """Where training labels lie and how far they spread: the network learns (label - center) / spread."""

    center: float
    spread: float


class Task(Protocol):
    """One kind of answer.

    `output` names it in the ONNX graph, in Triton and in logs. `score` is the metric that models are compared by:
    higher is better, at most 1, and one that is too high is a leak until proven otherwise; `score_title` is it for
    people, `no_skill` what it is for a model that knows nothing. `loss_metric` is the one of `scorers` that also sees
    how right the answers are, not only their order: lower is better.
    """

    output: Literal["probability", "value"]
    score: str
    score_title: str
    no_skill: float
    loss_metric: str

    def label_problem(self, labels: pl.Series) -> str | None:
        """Return what keeps labels [N] (none of them null) from being learned, None if nothing does."""

    def target(self, labels: pl.Series) -> Target:
        """Return how training labels [N] are learned."""

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of raw outputs against targets of the same shape."""

    def calibrate(self, raw: Tensor, target: Tensor) -> Calibration:
        """Return the scale and shift of least loss on raw outputs [N] with targets [N]."""

    def answer(self, calibrated: Tensor) -> Tensor:
        """Return the answers of calibrated outputs: probabilities, or values in the label's unit."""

    def evaluate(self, labels: ArrayLike, answers: ArrayLike) -> Metrics:
        """Return the metrics of answers [N] against labels [N]. Raises ValueError if they cannot be measured."""

    def scorer(self, labels: ArrayLike, answers: ArrayLike) -> Scorer:
        """Return the score as a function of row weights [N]. Raises ValueError as `evaluate` does."""

    def scorers(self, labels: ArrayLike, answers: ArrayLike) -> dict[str, Scorer]:
        """Return the metrics worth an interval, by their names in `evaluate`'s, as functions of row weights [N]."""


class Binary:
    """Labels 0 and 1; the answer is the probability of 1, the score its ROC AUC."""

    output: Literal["probability", "value"] = "probability"
    score = "roc_auc"
    score_title = "ROC AUC"
    no_skill = 0.5
    loss_metric = "log_loss"

    def label_problem(self, labels: pl.Series) -> str | None:
        """See Task."""
        strangers = sorted(set(labels.unique()) - {0, 1})
        if strangers:
            return f"has labels {strangers[:3]}; labels are 0, 1 or null"
        if labels.n_unique() < 2:
            return f"has only the class {labels[0]}; a model needs both, widen the window"
        return None

    def target(self, labels: pl.Series) -> Target:
        """See Task."""
        return Target(0.0, 1.0)

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the mean log loss in nats."""
        from torch.nn.functional import binary_cross_entropy_with_logits

        return binary_cross_entropy_with_logits(raw, target)

    def calibrate(self, raw: Tensor, target: Tensor) -> Calibration:
        """See Task."""
        from ml.calibration import calibrate_logits

        return calibrate_logits(raw, target)

    def answer(self, calibrated: Tensor) -> Tensor:
        """See Task."""
        return calibrated.sigmoid()

    def evaluate(self, labels: ArrayLike, answers: ArrayLike) -> BinaryMetrics:
        """See Task."""
        return evaluate_binary(labels, answers)

    def scorer(self, labels: ArrayLike, answers: ArrayLike) -> Scorer:
        """See Task."""
        return RankedScores(*checked_binary(labels, answers))

    def scorers(self, labels: ArrayLike, answers: ArrayLike) -> dict[str, Scorer]:
        """See Task."""
        label, probability = checked_binary(labels, answers)
        return {
            "roc_auc": RankedScores(label, probability),
            "pr_auc": AveragePrecision(label, probability),
            "log_loss": WeightedMean(log_losses(label, probability)),
            "brier": WeightedMean((label - probability) ** 2),
            "calibration_error": CalibrationError(label, probability),
        }


class Regression:
    """Labels are numbers; the answer is the expected one in the label's unit, the score its R^2."""

    output: Literal["probability", "value"] = "value"
    score = "r2"
    score_title = "R\N{SUPERSCRIPT TWO}"
    no_skill = 0.0
    loss_metric = "rmse"

    def label_problem(self, labels: pl.Series) -> str | None:
        """See Task."""
        if not labels.dtype.is_numeric():
            return f"has labels of type {labels.dtype}; labels of a regression are numbers or null"
        numbers = labels.cast(pl.Float64)
        if not numbers.is_finite().all():
            return f"has {(~numbers.is_finite()).sum()} labels that are not finite; make them null"
        if numbers.n_unique() < 2:
            return f"has only the label {labels[0]}; a model needs labels that differ, widen the window"
        return None

    def target(self, labels: pl.Series) -> Target:
        """See Task."""
        numbers = labels.cast(pl.Float64).to_numpy()
        return Target(float(numbers.mean()), float(numbers.std()) or 1.0)

    def loss(self, raw: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error, in variances of the training labels."""
        from torch.nn.functional import mse_loss

        return mse_loss(raw, target)

    def calibrate(self, raw: Tensor, target: Tensor) -> Calibration:
        """See Task."""
        from ml.calibration import calibrate_line

        return calibrate_line(raw, target)

    def answer(self, calibrated: Tensor) -> Tensor:
        """See Task."""
        return calibrated

    def evaluate(self, labels: ArrayLike, answers: ArrayLike) -> RegressionMetrics:
        """See Task."""
        return evaluate_regression(labels, answers)

    def scorer(self, labels: ArrayLike, answers: ArrayLike) -> Scorer:
        """See Task."""
        return SquaredErrors(*checked_regression(labels, answers))

    def scorers(self, labels: ArrayLike, answers: ArrayLike) -> dict[str, Scorer]:
        """See Task."""
        label, value = checked_regression(labels, answers)
        return {
            "r2": SquaredErrors(label, value),
            "rmse": WeightedMean((label - value) ** 2, root=True),
            "mae": WeightedMean(np.abs(label - value)),
            "calibration_error": CalibrationError(label, value, float(label.std())),
        }


def task_of(spec: ModelSpec) -> Task:
    """Return the task of a spec."""
    return Binary() if spec.task == "binary" else Regression()


def days(spec: ModelSpec, rows: pl.DataFrame) -> np.ndarray:
    """Return the day [N] on which each row was asked: what a bootstrap draws whole."""
    return rows[spec.outcome.prediction_time].dt.date().to_numpy()
