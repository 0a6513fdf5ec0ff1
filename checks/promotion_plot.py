"""The promotion gate's picture: what happened against what was answered, and the slices against the champion."""

from typing import TYPE_CHECKING, Any

import polars as pl
from numpy.typing import NDArray

from checks.contest import Contest
from ml.evaluation import calibration_curve
from ml.pictures import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (9.0, 4.2)  # inches
SHOWN = 24
GREY, BLUE, RED = "#8a8f98", "tab:blue", "#d1495b"


def draw(contest: Contest, slices: pl.DataFrame, names: tuple[str, str] = ("candidate", "champion")) -> bytes:
    """Return a PNG: the reliability curve, and (at most 24 of) the slices that `judge_slices` found, worst on top.

    `names` are those of the two versions, which a reader of the picture knows them by.
    """

    def panels(left: "Axes", right: "Axes") -> None:
        _reliability(left, contest, names)
        _slices(right, contest, slices.head(SHOWN), names)

    return picture(panels, SIZE, panels=2)


def _reliability(axes: "Axes", contest: Contest, names: tuple[str, str]) -> None:
    candidate, champion = names
    curves: dict[str, tuple[NDArray[Any] | None, str]] = {
        champion: (contest.champion, GREY),
        candidate: (contest.candidate, BLUE),
    }
    for name, (answers, colour) in curves.items():
        if answers is not None:
            curve = calibration_curve(contest.labels, answers)
            axes.plot(curve[:, 0], curve[:, 1], marker="o", markersize=3, linewidth=1, color=colour, label=name)
    low, high = min(*axes.get_xlim(), *axes.get_ylim()), max(*axes.get_xlim(), *axes.get_ylim())
    axes.plot([low, high], [low, high], color="black", linewidth=0.5, linestyle="--")
    axes.set_xlabel(f"mean {contest.task.output} answered, tenths of the rows")
    axes.set_ylabel("what happened, mean")
    axes.legend(fontsize=7)
    if contest.champion is None:
        cannot = "cannot be scored on these rows"
        axes.set_title(f"{champion} {cannot}" if contest.trouble else f"no other {champion} to compare with")


def _slices(axes: "Axes", contest: Contest, slices: pl.DataFrame, versions: tuple[str, str]) -> None:
    if slices.is_empty():
        axes.set_axis_off()
        return
    names = [f"{row['field']}={row['value']}" for row in slices.iter_rows(named=True)]
    places = list(range(len(names)))[::-1]
    if contest.champion is None:
        axes.scatter(slices["candidate"], places, s=14, color=BLUE)
        axes.axvline(contest.metrics.score, color="black", linewidth=0.5, linestyle="--")
        axes.set_xlabel(f"{contest.task.score_title} a slice; dashed: of all rows")
    else:
        colours = [RED if lost else BLUE for lost in slices["lost"]]
        axes.hlines(places, slices["low"], slices["high"], colors=colours, linewidth=1)
        axes.scatter(slices["difference"], places, s=14, color=colours)
        axes.axvline(0, color="black", linewidth=0.5)
        axes.axvline(-contest.spec.gates.max_slice_loss, color=RED, linewidth=0.8, linestyle="--")
        axes.set_xlabel(f"{contest.task.score_title}, {versions[0]} less {versions[1]}; red: the bound")
    axes.set_yticks(places, names)
