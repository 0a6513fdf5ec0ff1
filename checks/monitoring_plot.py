"""Small pictures of windows of answers: reliability, days of serving, and a metric over windows."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.evaluation import calibration_curve
from ml.pictures import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#8a8f98", "tab:blue", "#d1495b", "tab:green", "tab:orange", "tab:purple")
RED = "#d1495b"
WIDE = (9.0, 2.8)  # inches

Pair = tuple[NDArray[np.float64], NDArray[np.float64]]


def reliability(curves: Mapping[str, Pair], output: str) -> bytes:
    """Return a PNG of what happened against what was answered, in tenths of the rows: labels [N] and answers [N]."""

    def draw(axes: "Axes") -> None:
        for (name, (labels, answers)), colour in zip(curves.items(), COLOURS, strict=False):
            curve = calibration_curve(labels, answers)
            axes.plot(curve[:, 0], curve[:, 1], marker="o", markersize=3, linewidth=1, color=colour, label=name)
        low, high = min(*axes.get_xlim(), *axes.get_ylim()), max(*axes.get_xlim(), *axes.get_ylim())
        axes.plot([low, high], [low, high], color="black", linewidth=0.5, linestyle="--")
        axes.set_xlabel(f"mean {output} answered, tenths of the rows")
        axes.set_ylabel("what happened, mean")
        axes.legend(fontsize=7)

    return picture(draw)


def daily(days: pl.DataFrame, max_degraded: float, slo_ms: float) -> bytes:
    """Return a PNG of each `day`'s `degraded` share and p99 of `taken_ms`, with their bounds."""

    def draw(left: "Axes", right: "Axes") -> None:
        names = [f"{day:%m-%d}" for day in days["day"]]
        for axes, column, bound, title in (
            (left, "degraded", max_degraded, "share of answers without some view"),
            (right, "taken_ms", slo_ms, "p99 in the router, ms"),
        ):
            axes.bar(names, days[column].fill_null(0.0), color=COLOURS[1])
            axes.axhline(bound, color=RED, linewidth=0.8, linestyle="--")
            axes.set_title(title)
            axes.tick_params(axis="x", labelrotation=45)

    return picture(draw, WIDE, panels=2)


def over_windows(metrics: pl.DataFrame, names: Sequence[str], promotions: Iterable[tuple[datetime, str]]) -> bytes:
    """Return a PNG: each metric over windows with intervals, a colour a version; grey lines are promotions.

    `metrics` has columns window, version, metric, value, low, high; rows without a value are left out.
    """

    def draw(*panels: "Axes") -> None:
        for axes, name in zip(panels, names, strict=True):
            found = metrics.filter(pl.col("metric") == name).drop_nulls("value").sort("window")
            versions = found["version"].unique().sort().to_list()
            for place, version in enumerate(versions):
                colour = COLOURS[1 + place % (len(COLOURS) - 1)]
                own = found.filter(version=version)
                value = own["value"].to_numpy()
                ends = [np.abs(own[end].fill_null(own["value"]).to_numpy() - value) for end in ("low", "high")]
                axes.errorbar(
                    own["window"], value, ends, fmt="o-", markersize=3, linewidth=1, color=colour, label=version
                )
            for at, version in promotions:
                axes.axvline(at, color=COLOURS[0], linewidth=0.8, linestyle=":")  # type: ignore[arg-type]
                axes.annotate(version, (at, 1), xycoords=("data", "axes fraction"), fontsize=7)  # type: ignore[arg-type]
            axes.set_title(name)
            axes.tick_params(axis="x", labelrotation=45)
            if found.height:
                axes.legend(fontsize=7, title="version", title_fontsize=7)

    return picture(draw, WIDE, panels=len(names))
