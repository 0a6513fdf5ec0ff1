"""A picture of a training set: its rows a week, and the mean of their label, with the windows that are held out."""

from typing import TYPE_CHECKING

import polars as pl

from ml.pictures import picture
from ml.spec import ModelSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = (9.0, 2.8)  # inches


def label_picture(spec: ModelSpec, rows: pl.DataFrame) -> bytes:
    """Return a PNG of training rows [N] by week of their prediction time."""
    week = pl.col(spec.outcome.prediction_time).dt.truncate("1w").alias("week")
    weeks = (
        rows.group_by(week).agg(pl.len().alias("rows"), pl.col(spec.outcome.label).mean().alias("label")).sort("week")
    )

    from matplotlib.dates import ConciseDateFormatter, date2num

    def draw(left: "Axes", right: "Axes") -> None:
        times = weeks["week"].to_numpy()
        left.fill_between(times, weeks["rows"].to_numpy(), step="post", color="#8a8f98")
        left.set_ylim(bottom=0)
        left.set_title("rows a week")
        right.plot(times, weeks["label"].to_numpy(), marker="o", markersize=3, linewidth=1)
        right.set_title(f"mean {spec.outcome.label} a week")
        for axes in (left, right):
            for window, colour in ((spec.split.validation, "tab:orange"), (spec.split.test, "tab:green")):
                axes.axvspan(date2num(window.start), date2num(window.end), color=colour, alpha=0.12)
            axes.set_xlabel("prediction time; orange: validation, green: test")
            axes.set_xlim(times.min(), times.max())
            axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))

    return picture(draw, _SIZE, panels=2)
