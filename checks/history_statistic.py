"""What describes a partition: numbers with an error and a unit, and the errors of what is computed over its rows.

Errors are delete-a-block jackknife errors over runs of days (Efron and Tibshirani 1993, chapter 11), so that noise of
whole days and weeks counts as noise. What is measured is in the modules beside this.
"""

from dataclasses import dataclass

import numpy as np

from checks.history_views import BLOCKS, Views


@dataclass(frozen=True)
class Statistic:
    """A number that describes a partition, its standard error where known, and the unit in which it may move."""

    value: float
    error: float = 0.0
    unit: float = 1.0


Statistics = dict[str, dict[str, Statistic]]


def trimmed(views: Views, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A column's known numbers, cut at 1% and 99%, and their blocks."""
    known = np.isfinite(views.numbers[name])
    return np.clip(views.numbers[name][known], *views.quantiles[name][[0, -1]]), views.block[known]


def mean_of(views: Views, name: str) -> Statistic:
    """A column's trimmed mean, its error, and half the range between 1% and 99% as its unit."""
    low, high = views.quantiles[name][[0, -1]]
    values, block = trimmed(views, name)
    unit = float(high - low) / 2 or abs(float(low)) * 0.1 or 1e-9
    return Statistic(float(values.mean()), block_error(values, block), unit)


def spread_error(values: np.ndarray, block: np.ndarray) -> float:
    """The jackknife error of the logarithm of a standard deviation over the blocks."""
    sums = np.stack(
        [np.bincount(block, weights=w, minlength=BLOCKS) for w in (np.ones(values.size), values, values**2)]
    )
    n, x, xx = sums.sum(axis=1, keepdims=True) - sums[:, sums[0] > 0]
    with np.errstate(all="ignore"):
        logs = 0.5 * np.log(xx / n - (x / n) ** 2)
    return float(jackknife(logs[:, None])[0])


def block_error(values: np.ndarray, block: np.ndarray) -> float:
    """The jackknife error of a mean over the blocks."""
    total, count = (np.bincount(block, weights=w, minlength=BLOCKS) for w in (values, None))
    full = count > 0
    if full.sum() < 2:
        return 0.0
    without = (total.sum() - total[full]) / (count.sum() - count[full])
    return float(jackknife(without[:, None])[0])


def jackknife(without: np.ndarray) -> np.ndarray:
    """The standard error from statistics of all but one block each, along the first axis."""
    count = np.isfinite(without).sum(axis=0)
    with np.errstate(all="ignore"):
        mean = np.nansum(without, axis=0) / count
        total = np.nansum((without - mean) ** 2, axis=0)
        return np.nan_to_num(np.sqrt((count - 1) / np.maximum(count, 1) * total))
