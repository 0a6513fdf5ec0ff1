"""Metrics as functions of row weights: what bootstrap intervals of more than the score need.

Each sorts or sums once, then costs one pass a call. Not here: the scores (ml/evaluation.py), resampling
(ml/bootstrap.py).
"""

import numpy as np
from numpy.typing import NDArray

from ml.evaluation import BINS
from ml.ranking import Ranking

_LEAST_PROBABILITY = 1e-15  # as scikit-learn's log loss clips


class WeightedMean:
    """The mean of values [N], or its square root (`root`), as a function of row weights [N]."""

    def __init__(self, values: NDArray[np.float64], root: bool = False) -> None:
        self._values, self._root = values, root

    def __call__(self, weight: NDArray[np.float64]) -> float:
        """Return the mean with weights [N]."""
        mean = float(weight @ self._values / weight.sum())
        return mean**0.5 if self._root else mean


class AveragePrecision:
    """The area under the precision-recall curve, as scikit-learn's average precision, by row weights [N]."""

    def __init__(self, label: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
        self._ranking = Ranking(label, -scores)

    def __call__(self, weight: NDArray[np.float64]) -> float:
        """Return the area with weights [N] in the rows' original order, NaN if no positive has weight."""
        hits, both = self._ranking.at_each(weight)
        found, asked = np.cumsum(hits), np.cumsum(both)
        precision = np.divide(found, asked, out=np.zeros_like(found), where=asked > 0)
        return float(hits @ precision / found[-1]) if found[-1] > 0 else float("nan")


class CalibrationError:
    """The expected calibration error over bins of equal weight, in units of `unit`, by row weights [N]."""

    def __init__(self, label: NDArray[np.float64], answers: NDArray[np.float64], unit: float = 1.0) -> None:
        self._order = np.argsort(answers, kind="stable")
        self._gap = (label - answers)[self._order] / unit

    def __call__(self, weight: NDArray[np.float64]) -> float:
        """Return the sum over bins of |mean label - mean answer| by weight; rows stay whole in one bin."""
        ordered = weight[self._order]
        middle = (np.cumsum(ordered) - ordered / 2) / ordered.sum()
        bins = np.minimum((middle * BINS).astype(np.int64), BINS - 1)
        return float(np.abs(np.bincount(bins, ordered * self._gap, BINS)).sum() / ordered.sum())


def log_losses(label: NDArray[np.float64], probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each row's log loss [N] in nats."""
    right = np.where(label == 1, probability, 1 - probability)
    return -np.log(np.clip(right, _LEAST_PROBABILITY, 1))
