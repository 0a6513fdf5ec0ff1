"""Tests that may be looked at after every row: intervals that hold at all times at once, a martingale for rare faults.

An interval of a fixed number of rows, looked at every minute, is left by chance sooner or later; these are left with
probability alpha at most over all looks together. What is tested stands in `canary`. Only numbers come in.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def margin(rows: ArrayLike, alpha: float, tuned_at: float) -> NDArray[Any]:
    """Return how far, in deviations, the mean of so many rows may lie above the truth, at all times at once.

    The one-sided asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, Time-uniform
    central limit theory and asymptotic confidence sequences, Annals of Statistics 52 (2024), arXiv 2103.06476, section
    2.2 and appendix B: sqrt(2 (t r + 1) / (t^2 r) log(1 + sqrt(t r + 1) / (2 alpha))), where t counts rows and
    r = rho^2 makes it narrowest near t = `tuned_at`. Like the central limit theorem it needs a finite variance and some
    rows to begin with.
    """
    n, a = np.asarray(rows, dtype=np.float64), min(2 * alpha, 0.5)
    rho = (-2 * np.log(a) + np.log(-2 * np.log(a)) + 1) / tuned_at
    return np.sqrt(2 * (n * rho + 1) / (n**2 * rho) * np.log1p(np.sqrt(n * rho + 1) / (2 * alpha)))


def mean_and_spread(values: NDArray[Any], unit: float = 1.0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the mean and deviation of the first 1, 2, ... N of values [..., N], each [..., N].

    As if one row more of square `unit`^2 had been seen: with values that are all alike, or a fault that is rarer than
    one in N, the deviation would otherwise be 0 and the first look would decide.
    """
    n = np.arange(1, values.shape[-1] + 1)
    mean = np.cumsum(values, axis=-1) / n
    square = (np.cumsum(values**2, axis=-1) + unit**2) / n
    return mean, np.sqrt(np.maximum(square - mean**2, unit**2 / n))


def rate_evidence(faults: ArrayLike, rows: ArrayLike, rate: ArrayLike) -> NDArray[Any]:
    """Return the logarithm of the evidence against a fault rate of `rate`, after so many faults in so many rows.

    The likelihood under a Beta(1, 1 / rate) mixture of rates over that under `rate` is a martingale, so it passes
    1 / alpha with probability alpha at most, ever (Ville 1939; Robbins, Annals of Mathematical Statistics 41, 1970;
    Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics 49, 2021, beta-binomial). Exact: rare faults are no case
    for the central limit theorem. The rate seen says on which side the truth is.
    """
    from scipy.special import betaln  # slow to import, and every command imports this module

    k, n, p = (np.asarray(value, dtype=np.float64) for value in (faults, rows, rate))
    mixture = betaln(1 + k, 1 / p + n - k) - betaln(1, 1 / p)
    return np.asarray(mixture - k * np.log(p) - (n - k) * np.log1p(-p))
