"""Pictures of broken rules: each statistic by partition with the range it may have, worst rules first."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from checks.history_bounds import Judged
from checks.history_profile import Profile
from checks.history_views import Views
from ml.pictures import picture

PANELS = 4


def plot(views: Views, broken: Sequence[Judged], past: Sequence[Profile]) -> bytes | None:
    """Return a PNG of the worst statistics of up to four rules, None where none has a history to show."""
    shown = [f for f in broken if any(f.subject in p.statistics.get(f.rule, ()) for p in past)][:PANELS]
    if not shown:
        return None

    def draw(*panels: Any) -> None:
        for axes, finding in zip(panels, shown, strict=True):
            _panel(axes, finding, past, views.partition)

    return picture(draw, (4.2 * len(shown), 3), len(shown))


def _panel(axes: Any, finding: Judged, past: Sequence[Profile], partition: str) -> None:
    values = [_value(p, finding) for p in past]
    axes.plot([p.partition for p in past], values, "o-", color="tab:blue", label="good")
    axes.plot([partition], [finding.observed], "X", color="tab:red", markersize=10, label="now")
    for bound in (finding.low, finding.high):
        if np.isfinite(bound):
            axes.axhline(bound, color="grey", linestyle="--", linewidth=0.8)
    axes.set_title(f"{finding.rule}\n{finding.subject}")
    axes.tick_params(axis="x", rotation=60)


def _value(profile: Profile, finding: Judged) -> float:
    statistic = profile.statistics.get(finding.rule, {}).get(finding.subject)
    return statistic.value if statistic else float("nan")
