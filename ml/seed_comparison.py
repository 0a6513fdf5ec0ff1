"""Whether a change made training better or worse beyond noise: that of the rows it is measured on, and of the seed.

Here: two lists of answers, one a seed, on the same held-out rows. Not here: one version against another, which is
what the promotion gate asks (ml/bootstrap.py alone).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.bootstrap import RESAMPLES, SEED, Scorer, resampled

Verdict = Literal["better", "worse", "within noise"]


@dataclass(frozen=True)
class Comparison:
    """The change's score minus the base's, each the mean over its seeds; scores are the task's, higher is better.

    `low` and `high` bound the central share `confidence` of what other days and other seeds would have made of it.
    `days_error` and `seeds_error` are the two parts of its standard error.
    """

    base: float
    change: float
    difference: float
    low: float
    high: float
    confidence: float
    days_error: float
    seeds_error: float

    @property
    def verdict(self) -> Verdict:
        """Return on which side of zero the interval lies; one that holds zero is noise."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "within noise"


def compare_seeds(
    base: Sequence[Scorer],
    change: Sequence[Scorer],
    rows: int,
    groups: ArrayLike | None = None,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    seed: int = SEED,
) -> Comparison:
    """Compare two ways to train, each by the scorers of its seeds, on the same N `rows`; `groups` [N] are drawn whole.

    Each resample draws the days anew, alike for all models, and takes the difference of the two means over seeds:
    the paired bootstrap of ml/bootstrap.py. Three seeds are too few to be drawn from, so what other seeds would do
    is added to it as a normal-theory error of a difference of two means: a draw of Student's t, scaled by the pooled
    standard deviation over seeds times sqrt(1/n + 1/m), with n + m - 2 degrees of freedom. The quantiles of the sums
    are the interval. A day's noise and a seed's are taken as independent; both sides' seeds as having one spread.

    Raises ValueError if a side has fewer than two seeds: their noise could not be told.
    """
    if min(len(base), len(change)) < 2:
        raise ValueError(f"{len(base)} and {len(change)} seeds; the noise of a seed needs at least 2 a side")
    whole = np.ones(rows)
    first, second = (np.array([scorer(whole) for scorer in side]) for side in (base, change))
    draws = resampled(rows, groups, resamples, seed)
    over_days = np.array([_mean(change, weight) - _mean(base, weight) for weight in draws])
    over_days = over_days[np.isfinite(over_days)]
    if not over_days.size:
        raise ValueError("no resample has a score; the test part has too few days or only one class; widen the window")
    freedom = len(first) + len(second) - 2
    error = _pooled_error(first, second, freedom)
    over_seeds = error * np.random.default_rng(seed).standard_t(freedom, (len(over_days), _DRAWS))
    low, high = np.quantile(over_days[:, None] + over_seeds, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Comparison(
        base=float(first.mean()),
        change=float(second.mean()),
        difference=float(second.mean() - first.mean()),
        low=float(low),
        high=float(high),
        confidence=confidence,
        days_error=float(over_days.std()),
        seeds_error=error,
    )


_DRAWS = 200  # of seeds for each resample of days, so that the quantiles do not depend on the draw


def _mean(side: Sequence[Scorer], weight: NDArray[np.float64]) -> float:
    return float(np.mean([scorer(weight) for scorer in side]))


def _pooled_error(first: NDArray[np.float64], second: NDArray[np.float64], freedom: int) -> float:
    squares = sum(((side - side.mean()) ** 2).sum() for side in (first, second))
    return float(np.sqrt(squares / freedom * (1 / len(first) + 1 / len(second))))
