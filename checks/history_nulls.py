"""Where nulls are: by day, by category, and in which columns together."""

from collections.abc import Collection

import numpy as np

from checks.history_relations import Matrix
from checks.history_statistic import Statistic, Statistics
from checks.history_views import Views

ONLY_WITH = " is null only with "
HELD, WORTH = 0.005, 0.002  # shares of rows: exceptions of a rule that is kept, nulls of a column that has rules


def nulls_together(views: Views, wanted: Collection[str]) -> dict[str, Statistic]:
    """Share of rows in which one column is null and another is not, of those that hardly ever were, or are `wanted`."""
    found = {}
    for a, null in views.nulls.items():
        if null.mean() >= WORTH:
            for b in views.nulls:
                share = np.count_nonzero(null & ~views.nulls[b]) / views.height
                if a != b and share < HELD:
                    found[f"{a}{ONLY_WITH}{b}"] = Statistic(share)
    for rule in (w for w in wanted if ONLY_WITH in w and w not in found):
        exceptions = null_exceptions(views, rule)
        if exceptions is not None:
            found[rule] = Statistic(np.count_nonzero(exceptions) / max(views.height, 1))
    return found


def null_exceptions(views: Views, rule: str) -> np.ndarray | None:
    """Return which rows break "a is null only with b", None if one of the columns is not there."""
    a, b = rule.split(ONLY_WITH)
    if a not in views.names or b not in views.names:
        return None
    never = np.zeros(views.height, dtype=bool)
    return views.nulls.get(a, never) & ~views.nulls.get(b, never)


def nulls_by(matrix: Matrix) -> Statistics:
    """The largest daily share of nulls of each column, and the share in each category with enough rows."""
    views = matrix.views
    found: Statistics = {"nulls by day": {}, "nulls by category": {}}
    rows = np.bincount(views.day)
    usable = rows >= 15
    marks, labels, _ = matrix.categories
    counts = marks.sum(axis=0)
    names = [*views.nulls]
    null = np.column_stack([np.zeros(views.height, bool), *views.nulls.values()])[:, 1:].astype(np.float32)
    for i, name in enumerate(names):
        if views.time is not None and usable.any():
            daily = np.bincount(views.day, weights=null[:, i])[usable] / rows[usable]
            found["nulls by day"][name] = Statistic(float(daily.max()))
    shares = null.T @ marks / counts
    errors = 1 / np.sqrt(counts * np.maximum(shares * (1 - shares), 0.002))
    for (i, j), share in np.ndenumerate(shares):
        found["nulls by category"][f"{names[i]} | {labels[j]}"] = Statistic(float(share), float(errors[i, j]))
    return found
