"""What one column, or two, determine of another: tail number -> carrier, origin & destination -> distance.

A dependency is found in one partition and tried on the next; its statistic is the share of rows that do not have the
commonest value for what should determine it. It need not hold without exception: a share of 12% is watched like 0.
"""

from collections.abc import Iterable
from itertools import combinations

import numpy as np

from checks.history_statistic import Statistic
from checks.history_views import ARROW, Views, nameable

CELLS = 120_000  # the largest contingency table of two columns that is counted
SAMPLE = 4_000  # rows on which a pair of columns is tried first


class Dependencies:
    """Finds dependencies in a partition and tells which rows are exceptions to one."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.sample = np.random.default_rng(0).permutation(views.height)[:SAMPLE]
        self.codes = {n: c for n, c in views.codes.items() if nameable(n)}

    def found(self, wanted: Iterable[str]) -> dict[str, Statistic]:
        """Return the dependencies found here, and the standing here of those `wanted` because they held before."""
        found = {}
        codes = {n: c for n, c in self.codes.items() if c[1] > 1}
        for a, b in combinations(codes, 2):
            if (codes[a][1] + 1) * (codes[b][1] + 1) <= CELLS:
                table = _table(codes[a], codes[b])
                for x, y, counts in ((a, b, table), (b, a, table.T)):
                    error, baseline = _exceptions(counts)
                    if codes[x][1] <= self.views.height / 2 and error < 0.5 * baseline:
                        found[f"{x}{ARROW}{y}"] = Statistic(error)
        found |= self._joint(codes, found)
        for rule in wanted:
            counted = None if rule in found else self._counted(rule)
            if counted is not None:
                found[rule] = Statistic(_exceptions(counted)[0])
        return found

    def _joint(self, codes: dict[str, tuple[np.ndarray, int]], single: dict[str, Statistic]) -> dict[str, Statistic]:
        """Two columns of text or key that determine a third to which neither does alone."""
        found = {}
        parts = [n for n in codes if n in self.views.texts or (n in self.views.key and n not in self.views.instants)]
        for a, b in combinations(parts[:6], 2):
            joint = self._pair(a, b)
            if joint is None or not 1 < joint[1] <= self.views.height / 4:
                continue
            for target in codes:
                alone = min((single.get(f"{x}{ARROW}{target}", Statistic(1.0)).value for x in (a, b)), default=1.0)
                if target in (a, b) or alone < 0.05 or (joint[1] + 1) * (codes[target][1] + 1) > 8 * CELLS:
                    continue
                few = self.sample
                if _exceptions(_table((joint[0][few], joint[1]), (codes[target][0][few], codes[target][1])))[0] > 0.1:
                    continue
                error, baseline = _exceptions(_table(joint, codes[target]))
                if error < min(0.1, 0.5 * baseline, 0.5 * alone):
                    found[f"{a} & {b}{ARROW}{target}"] = Statistic(error)
        return found

    def _pair(self, a: str, b: str) -> tuple[np.ndarray, int] | None:
        (x, nx), (y, ny) = self.codes[a], self.codes[b]
        if (nx + 1) * (ny + 1) > 20 * CELLS:
            return None
        joint = x * (ny + 1) + y
        present = np.bincount(joint, minlength=(nx + 1) * (ny + 1)) > 0
        grid = present.reshape(nx + 1, ny + 1)
        grid[nx, :] = grid[:, ny] = False
        count = int(present.sum())
        number = np.where(present, np.cumsum(present) - 1, count)
        return number[joint], count

    def _counted(self, rule: str) -> np.ndarray | None:
        left, target = rule.split(ARROW)
        parts = left.split(" & ")
        codes = self.codes
        if any(p not in codes for p in (*parts, target)):
            return None
        joint = codes[parts[0]] if len(parts) == 1 else self._pair(*parts)
        if joint is None or (joint[1] + 1) * (codes[target][1] + 1) > 20 * CELLS:
            return None
        return _table(joint, codes[target])

    def rows(self, rule: str) -> np.ndarray:
        """Return which rows do not have the usual value of what determines it: booleans, in the order of the frame."""
        left, target = rule.split(ARROW)
        parts = left.split(" & ")
        joint = self.codes[parts[0]] if len(parts) == 1 else self._pair(*parts)
        table, codes = self._counted(rule), self.codes[target]
        if table is None or joint is None or not table.size:
            return np.zeros(self.views.height, dtype=bool)
        known = (joint[0] < joint[1]) & (codes[0] < codes[1])
        usual = np.append(table.argmax(axis=1), -1)
        return known & (usual[np.minimum(joint[0], table.shape[0])] != codes[0])


def _table(a: tuple[np.ndarray, int], b: tuple[np.ndarray, int]) -> np.ndarray:
    """Count how often each two codes meet, nulls left out: shape (codes of a, codes of b)."""
    counts = np.bincount(a[0] * (b[1] + 1) + b[0], minlength=(a[1] + 1) * (b[1] + 1))
    return counts.reshape(a[1] + 1, b[1] + 1)[: a[1], : b[1]]


def _exceptions(table: np.ndarray) -> tuple[float, float]:
    """Return the share of rows whose column is not the row's usual one, and that share knowing nothing of the row."""
    total = max(int(table.sum()), 1)
    return 1 - float(table.max(axis=1, initial=0).sum()) / total, 1 - float(table.sum(axis=0).max(initial=0)) / total
