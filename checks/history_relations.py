"""How a partition's columns hang together: correlations, neighbours in time, categories, dependencies, arithmetic.

Levels move with the season, relations hardly do: these rules see a shuffled, shifted or swapped column that looks sane
by itself. Errors are delete-a-block jackknife errors over runs of days (Efron and Tibshirani 1993, chapter 11), so that
noise of whole days and weeks counts as noise.
"""

from functools import cached_property
from itertools import combinations

import numpy as np

from checks.history_columns import squashed
from checks.history_statistic import Statistic, Statistics, jackknife
from checks.history_views import BLOCKS, DAY, Views

SURE = 0.998  # correlations beyond it are taken as this
CATEGORIES = 30  # of a text column, those with enough rows, that are compared one by one
ENOUGH = 60  # rows
HOUR = " hour"
NULL = " is null"
OWN, BESIDE = "own row before", "row before in time"
COUNTS = 0.995  # the correlation with time from which on a number only counts it
JUMP = 1.0  # squashed units: half of a column's middle 90%


class Matrix:
    """Squashed columns beside each other: numbers, differences of instants, null marks, hours as sine and cosine."""

    def __init__(self, views: Views) -> None:
        self.views = views
        columns: dict[str, np.ndarray] = {}
        for name in views.plain:
            if name in views.quantiles and views.distinct[name].size > 1 and not _trends(views, name):
                columns[name] = squashed(views, name)
        for name, hours in views.differences.items():
            if not any(_alike(hours, other) for other in columns.values()):
                columns[name] = _squash(hours)
        self.plain = list(columns)
        self.smooth = [n not in views.plain or views.distinct[n].size > 20 for n in columns]
        for name in views.instants:
            angle = np.nan_to_num(views.numbers[name]) * (2 * np.pi / DAY)
            if name in views.quantiles and np.ptp(views.sorted[name]) > 2 * DAY:
                columns[f"{name}{HOUR} (sine)"], columns[f"{name}{HOUR} (cosine)"] = np.sin(angle), np.cos(angle)
        for name, null in views.nulls.items():
            if 0.005 < null.mean() < 0.995:
                columns[f"{name}{NULL}"] = null.astype(np.float64)
        for name, (codes, kinds) in views.text_codes.items():
            counts = np.bincount(codes, minlength=len(kinds) + 1).astype(np.float64)
            if len(kinds) > 50:
                columns[f"frequency of {name}"] = _squash(np.log(np.append(counts[: len(kinds)], np.nan))[codes])
        self.names = list(columns)
        values = np.column_stack(list(columns.values())) if columns else np.zeros((views.height, 0))
        self.known = np.isfinite(values).astype(np.float32)
        self.values = np.where(self.known > 0, values, 0).astype(np.float32)
        marks = np.array([name.endswith(NULL) for name in self.names], dtype=bool)
        ones = self.values.sum(axis=0)
        # What a correlation rests on: of a mark, the rarer of its two values.
        self.rows = np.where(marks, np.minimum(ones, views.height - ones), self.known.sum(axis=0))
        self.order = np.argsort(views.block, kind="stable")
        self.cuts = np.searchsorted(views.block[self.order], np.arange(BLOCKS + 1))

    @cached_property
    def categories(self) -> tuple[np.ndarray, list[str], list[str]]:
        """Categories with enough rows as columns of zeros and ones, their names, and the columns they are of."""
        return _categories(self.views)


def correlations(matrix: Matrix) -> dict[str, Statistic]:
    """Correlation of every two columns, with its error on Fisher's scale."""
    sums = [_products(matrix, rows) for rows in _blocks(matrix)]
    every = [np.sum(parts, axis=0) for parts in zip(*sums, strict=True)]
    whole = _correlation(*every)
    without = np.stack([_correlation(*(t - p for t, p in zip(every, parts, strict=True))) for parts in sums])
    least = 1 / np.sqrt(np.maximum(np.minimum.outer(matrix.rows, matrix.rows), 1))
    errors = np.maximum(jackknife(np.arctanh(np.clip(without, -SURE, SURE))), least)
    pairs = [(i, j) for i, j in combinations(range(len(matrix.names)), 2) if np.isfinite(whole[i, j])]
    pairs = [(i, j) for i, j in pairs if not (HOUR in matrix.names[i] and HOUR in matrix.names[j])]
    return {
        f"{matrix.names[i]} ~ {matrix.names[j]}": Statistic(float(whole[i, j]), float(errors[i, j])) for i, j in pairs
    }


def neighbours(matrix: Matrix) -> Statistics:
    """Correlation of each column with its row before, within the entity and across entities; share of equal ones."""
    found: Statistics = {}
    views, count = matrix.views, len(matrix.plain)
    if not count:
        return found
    for label, order in ((OWN, views.by_entity), (BESIDE, views.by_time)):
        if label == OWN and not views.entity.any():
            continue
        now, last = order[1:], order[:-1]
        if label == OWN:
            same = views.entity[now] == views.entity[last]
            now, last = now[same], last[same]
        if now.size < ENOUGH:
            continue
        a, b = matrix.values[now, :count], matrix.values[last, :count]
        both = matrix.known[now, :count] * matrix.known[last, :count]
        _add_neighbours(found, matrix, label, (a * both, b * both, both), views.block[now])
    return found


def _add_neighbours(
    found: Statistics, matrix: Matrix, label: str, pair: tuple[np.ndarray, ...], block: np.ndarray
) -> None:
    a, b, both = pair
    terms = [both, a, b, a * a, b * b, a * b, both * (a == b), both * (np.abs(a - b) > JUMP)]
    order = np.argsort(block, kind="stable")
    cuts = np.searchsorted(block[order], np.arange(BLOCKS))
    full = [c for c in range(BLOCKS) if cuts[c] < (cuts[c + 1] if c + 1 < BLOCKS else block.size)]
    sums = np.stack([np.add.reduceat(t[order].astype(np.float64), cuts[full], axis=0) for t in terms])
    every = sums.sum(axis=1)
    without = every[:, None, :] - sums
    whole, parts = _series_correlation(every), _series_correlation(without)
    errors = jackknife(np.arctanh(np.clip(parts, -SURE, SURE)))
    with np.errstate(all="ignore"):
        equal, jumps = every[6] / every[0], every[7] / every[0]
    found[f"like its {label}"] = {
        n: Statistic(float(whole[i]), float(errors[i])) for i, n in enumerate(matrix.plain) if np.isfinite(whole[i])
    }
    shares = [(i, n) for i, n in enumerate(matrix.plain) if every[0][i] > 0]
    found[f"equal to its {label}"] = {n: Statistic(float(equal[i])) for i, n in shares}
    found[f"far from its {label}"] = {n: Statistic(float(jumps[i])) for i, n in shares if matrix.smooth[i]}


def by_category(matrix: Matrix) -> dict[str, Statistic]:
    """Each column's mean in a category less its mean, in squashed units, for the categories with enough rows."""
    marks, labels, owners = matrix.categories
    rare = 1 + np.sqrt(0.02 / np.maximum(marks.mean(axis=0), 1e-9)) if labels else np.zeros(0)
    if not labels or not matrix.names:
        return {}
    names = [*matrix.names, *labels]
    values = np.column_stack([matrix.values, marks])
    known = np.column_stack([matrix.known, np.ones_like(marks)])
    marks, values, known = marks[matrix.order], values[matrix.order], known[matrix.order]
    cuts = [slice(a, b) for a, b in zip(matrix.cuts[:-1], matrix.cuts[1:], strict=True)]
    sums = [(marks[c].T @ values[c], marks[c].T @ known[c], values[c].sum(0), known[c].sum(0)) for c in cuts]
    every = [np.sum(parts, axis=0) for parts in zip(*sums, strict=True)]
    whole = _contrast(*every)
    without = np.stack([_contrast(*(t - p for t, p in zip(every, parts, strict=True))) for parts in sums])
    errors = jackknife(without)
    found = {}
    for i, label in enumerate(labels):
        for j, name in enumerate(names):
            own = j >= len(matrix.names) and owners[j - len(matrix.names)] == owners[i]
            if not own and not name.endswith(NULL) and every[1][i, j] >= ENOUGH and np.isfinite(whole[i, j]):
                found[f"{name} | {label}"] = Statistic(float(whole[i, j]), float(errors[i, j]), float(rare[i]))
    return found


def by_day(matrix: Matrix) -> dict[str, Statistic]:
    """The lowest and highest daily mean of each column, in squashed units."""
    views, found = matrix.views, {}
    if views.time is None:
        return {}
    rows = np.bincount(views.day)
    fair = rows >= max(20, 0.25 * np.median(rows[rows > 0]))
    fair[[0, -1]] = False  # the month's edges cut days, by hours of the day
    for i, name in enumerate(matrix.names):
        if name.endswith(NULL):
            continue
        known = np.bincount(views.day, weights=matrix.known[:, i])
        total = np.bincount(views.day, weights=matrix.values[:, i])
        usable = fair & (known >= 15)
        if usable.sum() >= 5:
            means = total[usable] / known[usable]
            found[f"{name}, lowest day"] = Statistic(float(means.min()))
            found[f"{name}, highest day"] = Statistic(float(means.max()))
    return found


def _categories(views: Views) -> tuple[np.ndarray, list[str], list[str]]:
    marks, labels, owners = [], [], []
    for name, (codes, kinds) in views.text_codes.items():
        counts = np.bincount(codes, minlength=len(kinds) + 1)[: len(kinds)]
        if len(kinds) > 400:
            continue
        for code in np.argsort(-counts, kind="stable")[:CATEGORIES]:
            if counts[code] >= max(ENOUGH, 0.005 * views.height) and counts[code] < views.height:
                marks.append((codes == code).astype(np.float32))
                labels.append(f"{name} = {kinds[code]}")
                owners.append(name)
    return (np.column_stack(marks) if marks else np.zeros((views.height, 0), np.float32)), labels, owners


def pace(views: Views) -> Statistics:
    """How a number that only counts time up, such as the day, grows a day, where it starts, and how many rows stray.

    "counts time" says what a column is: 0 a number, 1 one that counts time up, 2 an instant.
    """
    found: Statistics = {"pace": {}, "off the pace": {}, "counts time": {n: Statistic(2.0) for n in views.instants}}
    for name in views.plain:
        counts = name in views.quantiles and _trends(views, name)
        found["counts time"][name] = Statistic(float(counts))
        if counts:
            known = ~np.isnan(views.numbers[name])
            days, values = views.numbers[views.time or ""][known] / DAY, views.numbers[name][known]
            early, late = (np.median(x[days <= np.median(days)]) for x in (days, values)), days > np.median(days)
            step, rise = (float(np.median(x[late]) - at) for x, at in zip((days, values), early, strict=True))
            slope = rise / step
            start = float(np.median(values - slope * days))
            unit = max(abs(slope), 1e-9)
            found["pace"][f"{name} a day"] = Statistic(slope, unit=unit)
            found["pace"][f"{name} at the start"] = Statistic(start, unit=20 * unit)
            found["off the pace"][name] = Statistic(float((np.abs(values - slope * days - start) > 3 * unit).mean()))
    return found


def _trends(views: Views, name: str) -> bool:
    """Whether a number only counts time up, like the day: its relations would be those of the season."""
    if views.time is None or name in views.instants:
        return name in views.instants
    known = ~np.isnan(views.numbers[name])
    if known.sum() < ENOUGH or views.distinct[name].size < 3:
        return False
    with np.errstate(all="ignore"):
        return bool(abs(np.corrcoef(views.numbers[name][known], views.numbers[views.time][known])[0, 1]) > COUNTS)


def _squash(values: np.ndarray) -> np.ndarray:
    known = values[np.isfinite(values)]
    if not known.size:
        return values
    low, middle, high = np.quantile(known, (0.05, 0.5, 0.95))
    unit = (high - low) / 2 or float(known.std()) or 1.0
    return np.clip((values - middle) / unit, -3, 3)


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    known = np.isfinite(a) & np.isfinite(b)
    with np.errstate(all="ignore"):
        return bool(known.sum() >= ENOUGH and abs(np.corrcoef(a[known], b[known])[0, 1]) > 0.95)


def _blocks(matrix: Matrix) -> list[np.ndarray]:
    return [matrix.order[a:b] for a, b in zip(matrix.cuts[:-1], matrix.cuts[1:], strict=True)]


def _products(matrix: Matrix, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """Sums over rows where both columns are known: counts, values, squares, products; each (columns, columns)."""
    a, m = matrix.values[rows], matrix.known[rows]
    return tuple(x.astype(np.float64) for x in (m.T @ m, a.T @ m, (a * a).T @ m, a.T @ a))


def _correlation(n: np.ndarray, x: np.ndarray, xx: np.ndarray, xy: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        variance = xx - x * x / n
        variance = np.where(variance > 1e-4 * n, variance, np.nan)
        result = (xy - x * x.T / n) / np.sqrt(variance * variance.T)
    return np.where(n >= ENOUGH, result, np.nan)


def _series_correlation(terms: np.ndarray) -> np.ndarray:
    n, a, b, aa, bb, ab = terms[:6]
    with np.errstate(all="ignore"):
        spread = (aa - a * a / n) * (bb - b * b / n)
        return np.where((n >= ENOUGH) & (spread > 1e-8 * n * n), (ab - a * b / n) / np.sqrt(spread), np.nan)


def _contrast(total: np.ndarray, count: np.ndarray, values: np.ndarray, known: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return total / count - values / known
