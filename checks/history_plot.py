"""Pictures of broken rules: each statistic by partition with the range it may have, worst rules first."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np

from checks.history_bounds import Judged
from checks.history_profile import Profile
from checks.history_views import Views

PANELS = 4


def plot(views: Views, broken: Sequence[Judged], past: Sequence[Profile]) -> bytes | None:
    """Return a PNG of the worst statistics of up to four rules, None where none has a history to show."""
    shown = [f for f in broken if any(f.subject in p.statistics.get(f.rule, ()) for p in past)][:PANELS]
    if not shown:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(shown), 3), dpi=80)
    for i, finding in enumerate(shown):
        axes = figure.add_subplot(1, len(shown), i + 1)
        names = [p.partition for p in past] + [views.partition]
        values = [_value(p, finding) for p in past]
        axes.plot(names[:-1], values, "o-", color="tab:blue", label="good")
        axes.plot(names[-1:], [finding.observed], "X", color="tab:red", markersize=10, label="now")
        for bound in (finding.low, finding.high):
            if np.isfinite(bound):
                axes.axhline(bound, color="grey", linestyle="--", linewidth=0.8)
        axes.set_title(f"{finding.rule}\n{finding.subject}", fontsize=8)
        axes.tick_params(axis="x", rotation=60, labelsize=7)
        axes.tick_params(axis="y", labelsize=7)
    figure.tight_layout()
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _value(profile: Profile, finding: Judged) -> float:
    statistic = profile.statistics.get(finding.rule, {}).get(finding.subject)
    return statistic.value if statistic else float("nan")
