"""How good answers are: metrics of probabilities and of values against what happened.

Here: functions of labels and answers. Not here: whether a difference is noise (ml/bootstrap.py), slices
(ml/slices.py), bounds and verdicts (checks/), scoring (ml/scoring.py).
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.ranking import Ranking

BINS = 10


@dataclass(frozen=True)
class BinaryMetrics:
    """Metrics of N probabilities; log loss in nats."""

    rows: int
    positive_share: float
    mean_probability: float
    roc_auc: float
    pr_auc: float
    log_loss: float
    brier: float
    calibration_error: float

    @property
    def score(self) -> float:
        """What models are compared by: the ROC AUC."""
        return self.roc_auc

    def as_dict(self, prefix: str = "") -> dict[str, float]:
        """Return the metrics by name, each with `prefix`."""
        return {prefix + name: float(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class RegressionMetrics:
    """Metrics of N values. Means, RMSE and MAE are in the label's unit, the calibration error in its deviations."""

    rows: int
    mean_label: float
    mean_value: float
    r2: float
    rmse: float
    mae: float
    calibration_error: float

    @property
    def score(self) -> float:
        """What models are compared by: the coefficient of determination."""
        return self.r2

    def as_dict(self, prefix: str = "") -> dict[str, float]:
        """Return the metrics by name, each with `prefix`."""
        return {prefix + name: float(value) for name, value in asdict(self).items()}


def evaluate_binary(labels: ArrayLike, probabilities: ArrayLike) -> BinaryMetrics:
    """Return the metrics of probabilities [N] in [0, 1] against labels [N] of 0 and 1.

    Raises ValueError if there are no rows, lengths differ, a probability is no number or outside
    [0, 1], or only one class is present.
    """
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss

    label, probability = checked_binary(labels, probabilities)
    return BinaryMetrics(
        rows=len(label),
        positive_share=float(label.mean()),
        mean_probability=float(probability.mean()),
        roc_auc=roc_auc(label, probability),
        pr_auc=float(average_precision_score(label, probability)),
        log_loss=float(log_loss(label, probability, labels=[0, 1])),
        brier=float(brier_score_loss(label, probability)),
        calibration_error=calibration_error(label, probability),
    )


def evaluate_regression(labels: ArrayLike, values: ArrayLike) -> RegressionMetrics:
    """Return the metrics of values [N] against labels [N], both finite and in one unit.

    Raises ValueError if there are no rows, lengths differ, a number is not finite, or all labels are equal.
    """
    label, value = checked_regression(labels, values)
    return RegressionMetrics(
        rows=len(label),
        mean_label=float(label.mean()),
        mean_value=float(value.mean()),
        r2=SquaredErrors(label, value)(np.ones(len(label))),
        rmse=float(np.sqrt(((label - value) ** 2).mean())),
        mae=float(np.abs(label - value).mean()),
        calibration_error=calibration_error(label, value) / float(label.std()),
    )


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve: the chance that a positive row outscores a negative one.

    Ties count half (Mann-Whitney U; Hanley and McNeil 1982). Labels [N] of 0 and 1, scores [N].
    """
    label = np.asarray(labels, dtype=np.float64)
    return RankedScores(label, np.asarray(scores, dtype=np.float64))(np.ones(len(label)))


def calibration_error(labels: ArrayLike, answers: ArrayLike, bins: int = BINS) -> float:
    """Return the expected calibration error over bins of equal mass, in the label's unit.

    Sum over bins of |mean label - mean answer| weighted by the bin's share of rows: Naeini et
    al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015; equal-mass bins as in
    Nixon et al., Measuring Calibration in Deep Learning, CVPR workshops 2019. Rows are sorted by
    answer and cut into `bins` runs whose lengths differ by at most one.
    """
    curve = calibration_curve(labels, answers, bins)
    return float(np.abs(curve[:, 0] - curve[:, 1]) @ curve[:, 2])


def calibration_curve(labels: ArrayLike, answers: ArrayLike, bins: int = BINS) -> NDArray[np.float64]:
    """Return [bins, 3]: mean answer, mean label and share of rows of each bin of equal mass, lowest first."""
    label, answer = np.asarray(labels, dtype=np.float64), np.asarray(answers, dtype=np.float64)
    order = np.argsort(answer, kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return np.array([[answer[part].mean(), label[part].mean(), len(part) / len(label)] for part in parts])


class RankedScores:
    """The ROC AUC as a function of row weights [N]: scores are sorted once, each AUC costs one pass."""

    def __init__(self, label: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
        self._ranking = Ranking(label, scores)

    def __call__(self, weight: NDArray[np.float64]) -> float:
        """Return the AUC with weights [N] in the rows' original order, NaN if a class has no weight."""
        positive, both = self._ranking.at_each(weight)
        negative = both - positive
        below = np.cumsum(negative) - negative
        pairs = positive.sum() * negative.sum()
        return float((positive * (below + 0.5 * negative)).sum() / pairs) if pairs > 0 else float("nan")


class SquaredErrors:
    """The coefficient of determination R^2 as a function of row weights [N]."""

    def __init__(self, label: NDArray[np.float64], values: NDArray[np.float64]) -> None:
        self._label = label
        self._error = (label - values) ** 2

    def __call__(self, weight: NDArray[np.float64]) -> float:
        """Return 1 - weighted squared error / weighted variance, NaN if all weighted labels are equal."""
        total = weight.sum()
        mean = weight @ self._label / total
        spread = weight @ (self._label - mean) ** 2
        return float(1 - (weight @ self._error) / spread) if spread > 0 else float("nan")


def checked_binary(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return labels and probabilities as float64 [N]. Raises ValueError as `evaluate_binary` does."""
    label, probability = _paired(labels, probabilities, "probabilities")
    if not np.isin(label, (0.0, 1.0)).all():
        raise ValueError("labels must be 0 or 1; leave rows without a label out")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("probabilities must be numbers in [0, 1]; the model gave others")
    if label.min() == label.max():
        raise ValueError(f"all {len(label)} labels are {label[0]:.0f}; metrics need both classes")
    return label, probability


def checked_regression(labels: ArrayLike, values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return labels and values as float64 [N]. Raises ValueError as `evaluate_regression` does."""
    label, value = _paired(labels, values, "values")
    if not np.isfinite(label).all():
        raise ValueError("labels must be finite numbers; leave rows without a label out")
    if not np.isfinite(value).all():
        raise ValueError("values must be finite numbers; the model gave others")
    if label.min() == label.max():
        raise ValueError(f"all {len(label)} labels are {label[0]:g}; metrics need labels that differ")
    return label, value


def _paired(labels: ArrayLike, answers: ArrayLike, what: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    label, answer = np.asarray(labels, dtype=np.float64), np.asarray(answers, dtype=np.float64)
    if label.shape != answer.shape or label.ndim != 1 or len(label) == 0:
        raise ValueError(f"labels {label.shape} and {what} {answer.shape} must be [N] with the same N > 0")
    return label, answer
