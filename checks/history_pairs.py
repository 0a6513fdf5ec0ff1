"""Columns that go together: how far apart they are, and how far rows stray from what the other columns say.

A unit swapped in a whole column leaves every correlation as it was, but not the difference or ratio to its partner; a
fault in a few rows hardly moves a correlation, but those rows stray from the fit. Fits are least squares on squares
and products of the columns most correlated; they are made and judged within the partition.
"""

from itertools import combinations

import numpy as np

from checks.history_relations import ENOUGH, Matrix
from checks.history_statistic import Statistic, Statistics, block_error

TOGETHER = 0.4  # the correlation from which on two columns are compared
PARTNERS = 8
ASTRAY = 4.0  # robust standard deviations
SAMPLE = 4_000


def apart(matrix: Matrix, correlations: dict[str, Statistic]) -> Statistics:
    """Median and tails of a - b, and of log a / b where both are positive, for columns that go together."""
    found: Statistics = {"difference": {}, "ratio": {}}
    views = matrix.views
    rows = np.random.default_rng(1).permutation(views.height)[:SAMPLE]
    numbers = {n: views.numbers[n][rows] for n in matrix.plain if n in views.plain}
    for a, b in combinations(numbers, 2):
        pair = correlations.get(f"{a} ~ {b}")
        if pair is None or abs(pair.value) < TOGETHER:
            continue
        x, y = numbers[a], numbers[b]
        _add(found["difference"], f"{a} - {b}", x - y, views.block[rows])
        positive = (x > 0) & (y > 0)
        known = np.count_nonzero(np.isfinite(x - y))
        if pair.value > 0 and np.count_nonzero(positive) > 0.9 * known:
            _add(found["ratio"], f"{a} / {b}", np.log(x[positive] / y[positive]), views.block[rows[positive]])
    return found


def _add(found: dict[str, Statistic], name: str, values: np.ndarray, block: np.ndarray) -> None:
    known = np.isfinite(values)
    ordered = np.sort(values[known])
    if ordered.size < ENOUGH:
        return
    low, middle, high = ordered[[int(q * (ordered.size - 1)) for q in (0.05, 0.5, 0.95)]]
    error = block_error(np.clip(values[known], low, high), block[known])
    found[name] = Statistic(float(middle), error, max(float(high - low) / 2, 1e-6))


def astray(matrix: Matrix, correlations: dict[str, Statistic]) -> dict[str, Statistic]:
    """Share of rows in which a column is far from its fit by the columns most correlated with it."""
    found = {}
    count = len(matrix.plain)
    rows = np.random.default_rng(2).permutation(matrix.views.height)[:SAMPLE]
    values, known = matrix.values[rows, :count].astype(np.float64), matrix.known[rows, :count] > 0
    for target in (i for i in range(count) if matrix.smooth[i]):
        strength = [_between(correlations, matrix.names[target], matrix.names[i]) for i in range(count)]
        often = (known & known[:, [target]]).sum(axis=0) >= 0.8 * known[:, target].sum()
        partners = [i for i in np.argsort(strength)[::-1][:PARTNERS] if often[i] and i != target]
        full = known[:, [target, *partners]].all(axis=1)
        if partners and full.sum() >= 4 * ENOUGH:
            residual, fit = _residual(values[full, target], values[full][:, partners])
            if fit > 0.5:
                share = (np.abs(residual) > ASTRAY * _deviation(residual)).mean()
                found[matrix.names[target]] = Statistic(float(share))
    return found


def _between(correlations: dict[str, Statistic], a: str, b: str) -> float:
    pair = correlations.get(f"{a} ~ {b}") or correlations.get(f"{b} ~ {a}")
    return abs(pair.value) if pair and a != b else 0.0


def _residual(y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, float]:
    """Return residuals of a fit, and its correlation, both of the rows that do not stray from a first fit."""
    squares = [x[:, i] * x[:, j] for i in range(x.shape[1]) for j in range(i, x.shape[1])]
    features = np.column_stack([np.ones(len(y)), x, *squares])
    residual = y - features @ _weights(features, y)
    near = np.abs(residual) <= 2 * ASTRAY * _deviation(residual)
    residual = y - features @ _weights(features[near], y[near])
    variance = float(y[near].var())
    return residual, float(np.sqrt(max(1 - residual[near].var() / variance, 0.0))) if variance > 1e-9 else 0.0


def _weights(features: np.ndarray, y: np.ndarray) -> np.ndarray:
    gram = features.T @ features
    return np.linalg.solve(gram + 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram)), features.T @ y)


def _deviation(residual: np.ndarray) -> float:
    return max(float(np.median(np.abs(residual))) * 1.4826, 0.005)
