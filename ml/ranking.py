"""Rows in the order of a score, for metrics as functions of row weights: sorted once, each call costs one pass."""

import numpy as np
from numpy.typing import NDArray


class Ranking:
    """Labels [N] of 0 and 1 in the ascending order of `scores` [N]; equal scores are one place of P."""

    def __init__(self, label: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
        """Sort the rows."""
        self._order = np.argsort(scores, kind="stable")
        ordered = scores[self._order]
        self._starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        self._positive = label[self._order]

    def at_each(self, weight: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the weight of the positives and of all rows at each place [P], of weights [N] in their first order."""
        ordered = weight[self._order]
        positive, both = (np.add.reduceat(part, self._starts) for part in (ordered * self._positive, ordered))
        return positive, both
