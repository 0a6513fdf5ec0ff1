"""A partition that lands again against its last good version: keys whose values changed, that vanished, that are new.

A few per cent of corrections are everyday; a month that is rewritten wholesale needs a person, who can override.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from checks.history_bounds import Judged
from checks.history_views import Views
from checks.outcome import RULE

RESTATED = "restated"
CHANGED, NEW, VANISHED, FEW = 0.05, 0.05, 0.01, 3  # shares of the keys; so many keys are never too many
MATERIAL = 0.05  # of half the column's middle 90%: smaller differences do not count as changes


def compare(now: Views, before: Views) -> tuple[list[Judged], pl.DataFrame | None]:
    """Return the shares of keys changed, vanished and new with their bounds, and rows that changed if too many did."""
    key = [n for n in before.key if n in now.frame.columns]
    if not key or not before.height:
        return [], None
    marked = now.frame.with_row_index("now").select("now", *key)
    other = before.frame.with_row_index("before").select("before", *key)
    both = marked.join(other, on=key, how="inner", nulls_equal=True)
    i, j = both["now"].to_numpy(), both["before"].to_numpy()
    changed = np.zeros(i.size, dtype=bool)
    columns = {}
    for name, differs in _differences(now, before, i, j):
        columns[name] = float(differs.mean()) if differs.size else 0.0
        changed |= differs
    total = before.height
    found = [
        _judged("keys whose values changed", changed.sum(), total, CHANGED),
        _judged("keys that vanished", total - np.unique(j).size, total, VANISHED),
        _judged("keys that are new", now.height - np.unique(i).size, total, NEW),
        *(_judged(f"keys whose {name} changed", share * total, total, CHANGED) for name, share in columns.items()),
    ]
    rows = now.frame[i[changed][:1_000]].with_columns(pl.lit("restated: values changed").alias(RULE))
    return found, rows if found[0].use > 1 else None


def _differences(now: Views, before: Views, i: np.ndarray, j: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    for name in before.names:
        if name in now.numbers and name in before.numbers:
            a, b = now.numbers[name][i], before.numbers[name][j]
            unit = before.quantiles[name][-2] - before.quantiles[name][1] if name in before.quantiles else 0.0
            near = np.abs(a - b) <= MATERIAL * unit / 2
            yield name, ~(near | (np.isnan(a) & np.isnan(b)))
        elif name in now.texts and name in before.texts:
            yield name, now.frame[name][i].ne_missing(before.frame[name][j]).to_numpy()


def _judged(subject: str, count: float, total: int, most: float) -> Judged:
    bound = max(most, FEW / total)
    return Judged(RESTATED, subject, float(count) / total, -np.inf, bound, float(count) / total / bound, 1)
