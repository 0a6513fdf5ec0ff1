"""A small picture of a column's two distributions, drawn only where a drift check shows something."""

from typing import TYPE_CHECKING

import numpy as np

from checks.drift_profile import Numbers, Profile
from checks.drift_statistics import by_value
from ml.pictures import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS, BARS = 40, 12
OUTLIERS = 0.005  # beyond these quantiles of both sides values are counted into the last bins
COLOURS = ("#8a8f98", "#d1495b")


def plot(column: str, title: str, names: tuple[str, str], reference: Profile, current: Profile) -> bytes:
    """Return a PNG: shares of values by bin, or by name for the names that moved most."""

    def draw(axes: "Axes") -> None:
        if isinstance(reference, Numbers) and isinstance(current, Numbers) and reference.present and current.present:
            _bins(axes, names, reference, current)
        else:
            _bars(axes, names, reference, current)
        axes.set_title(title)
        axes.set_xlabel(column)
        axes.set_ylabel("share of values")
        axes.legend(fontsize=7)

    return picture(draw)


def _bins(axes: "Axes", names: tuple[str, str], reference: Numbers, current: Numbers) -> None:
    low = min(p.quantile(OUTLIERS) for p in (reference, current))
    high = max(p.quantile(1 - OUTLIERS) for p in (reference, current))
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    for name, profile, colour in zip(names, (reference, current), COLOURS, strict=True):
        values = np.clip(profile.values, edges[0], edges[-1])
        shares, _ = np.histogram(values, edges, weights=profile.counts / profile.present)
        axes.stairs(shares, edges, label=name, color=colour, fill=True, alpha=0.5)


def _bars(axes: "Axes", names: tuple[str, str], reference: Profile, current: Profile) -> None:
    """Draw the names that moved most, and how many rows have none."""
    labels, shares = ["(missing)"], [[p.missing / max(p.missing + p.present, 1)] for p in (reference, current)]
    if type(reference) is type(current) and reference.present and current.present:
        values, *both = by_value(reference, current)
        most = np.argsort(-np.abs(both[1] - both[0]), kind="stable")[:BARS]
        labels += [str(values[i])[:12] for i in most]
        shares = [own + [float(share[i]) for i in most] for own, share in zip(shares, both, strict=True)]
    places = np.arange(len(labels))
    for side, (name, colour) in enumerate(zip(names, COLOURS, strict=True)):
        axes.bar(places + (side - 0.5) * 0.4, shares[side], 0.4, label=name, color=colour)
    axes.set_xticks(places, labels, rotation=45, ha="right")
