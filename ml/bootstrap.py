"""Whether a difference is noise: bootstrap intervals of a score, and of the difference of two models' scores.

Resampling draws whole groups (say days) where they are given: rows of one day share their storm and are not
independent. Percentile intervals: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 300
SEED = 7

Scorer = Callable[[NDArray[np.float64]], float]  # the score of N rows as a function of their weights [N]


@dataclass(frozen=True)
class Interval:
    """A score and the central share `confidence` of what resampled rows make of it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A challenger's score minus the champion's on the same rows.

    `low` and `high` bound the central share `confidence` of the bootstrap's differences;
    `p_not_better` is the share of resamples in which the challenger was not better.
    """

    champion: float
    challenger: float
    difference: float
    low: float
    high: float
    confidence: float
    p_not_better: float
    resamples: int


def compare(
    champion: Scorer,
    challenger: Scorer,
    rows: int,
    groups: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: int = SEED,
) -> Difference:
    """Compare two models on the same N `rows`, each resample drawn alike for both. `groups` [N] are drawn whole."""
    whole = np.ones(rows)
    first, second = champion(whole), challenger(whole)
    draws = resampled(rows, groups, resamples, seed)
    differences = _numbers(np.array([challenger(weight) - champion(weight) for weight in draws]))
    low, high = _central(differences, confidence)
    return Difference(
        champion=first,
        challenger=second,
        difference=second - first,
        low=low,
        high=high,
        confidence=confidence,
        p_not_better=float((1 + (differences <= 0).sum()) / (1 + len(differences))),
        resamples=len(differences),
    )


def interval(
    scorer: Scorer,
    rows: int,
    groups: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: int = SEED,
) -> Interval:
    """Return the score of N `rows` and its interval. `groups` [N] are drawn whole."""
    scores = _numbers(np.array([scorer(weight) for weight in resampled(rows, groups, resamples, seed)]))
    return Interval(scorer(np.ones(rows)), *_central(scores, confidence))


def resampled(
    rows: int, groups: ArrayLike | None = None, resamples: int = RESAMPLES, seed: int = SEED
) -> Iterator[NDArray[np.float64]]:
    """Yield how often each row [N] is drawn, with replacement, as many times as there are resamples."""
    random = np.random.default_rng(seed)
    member = np.arange(rows) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    count = int(member.max()) + 1
    for _ in range(resamples):
        yield np.bincount(random.integers(0, count, count), minlength=count).astype(np.float64)[member]


def _numbers(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Leave out resamples in which no score exists, such as those of one class only."""
    found = scores[np.isfinite(scores)]
    if not found.size:
        raise ValueError("no resample has a score; too few rows or groups, or only one class in nearly all of them")
    return found


def _central(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
