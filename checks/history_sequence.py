"""An entity's rows one after another: how regularly they come, and how long a column stands still.

Correlations with the row before are in `history_relations`; repeated runs of values in `history_memory`.
"""

import numpy as np

from checks.history_statistic import Statistic, Statistics
from checks.history_views import Views

ENOUGH = 60  # rows that have a row of their entity before them
VARIED = 20  # different numbers from which on standing still says something


def sequence(views: Views) -> Statistics:
    """Share of rows that come at the most usual distance after their own row before; longest run of equal numbers.

    A row lost at random breaks two distances, so that the rhythm tells losses that the count of rows hides. A number
    that stands still in one place for long tells a sensor that is stuck.
    """
    found: Statistics = {"rhythm": {}, "longest run": {}}
    now, last = views.by_entity[1:], views.by_entity[:-1]
    same = views.entity[now] == views.entity[last]
    if views.time is None or same.sum() < ENOUGH:
        return found
    hours = (views.numbers[views.time][now] - views.numbers[views.time][last])[same]
    _, counts = np.unique(hours[np.isfinite(hours)], return_counts=True)
    if counts.size:
        found["rhythm"]["rows at the usual distance"] = Statistic(float(counts.max() / hours.size))
    for name in views.plain:
        if name in views.quantiles and views.distinct[name].size >= VARIED:
            equal = same & (views.numbers[name][now] == views.numbers[name][last])
            found["longest run"][name] = Statistic(float(_longest(equal) + 1))
    return found


def _longest(flags: np.ndarray) -> int:
    """Return the length of the longest run of True: shape (rows,)."""
    breaks = np.flatnonzero(~flags)
    return int(np.diff(np.concatenate([[-1], breaks, [flags.size]])).max() - 1)
