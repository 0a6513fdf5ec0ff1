"""The canary's picture: each bound with what is known of it, and the canary's answers against the champion's."""

from typing import TYPE_CHECKING, Any

import numpy as np

from checks.canary_rows import Seen
from ml.pictures import picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

SIZE = (9.0, 3.4)  # inches
COLOURS = {"holds": "tab:green", "broken": "#d1495b", "open": "#8a8f98"}


def draw(rules: "Sequence[Any]", seen: Seen) -> bytes:
    """Return a PNG: each rule's interval in units of its bound, and the answers' cumulative shares."""

    def panels(left: "Axes", right: "Axes") -> None:
        _intervals(left, rules)
        _answers(right, seen)

    return picture(panels, SIZE, panels=2)


def _intervals(axes: "Axes", rules: "Sequence[Any]") -> None:
    places = list(range(len(rules)))[::-1]
    for place, rule in zip(places, rules, strict=True):
        if rule.rows:
            low, seen, high = (float(np.clip(v / rule.bound, -1, 3)) for v in (rule.low, rule.observed, rule.high))
            axes.hlines(place, low, high, colors=COLOURS[rule.state], linewidth=2)
            axes.scatter([seen], [place], s=18, color=COLOURS[rule.state])
    axes.axvline(1, color=COLOURS["broken"], linewidth=0.8, linestyle="--")
    axes.set_ylim(-0.5, len(rules) - 0.5)
    axes.set_yticks(places, [f"{rule.rule} ({rule.rows})" for rule in rules])
    axes.set_xlabel("in units of the bound; at all looks")


def _answers(axes: "Axes", seen: Seen) -> None:
    if not len(seen.champion):
        axes.set_axis_off()
        return
    shares = np.linspace(0, 1, 101)
    for name, answers, colour in (("champion", seen.champion, "#8a8f98"), ("canary", seen.canary, "tab:blue")):
        axes.plot(np.quantile(answers, shares), shares, linewidth=1, color=colour, label=name)
    axes.set_xlabel("answer to the same rows")
    axes.set_ylabel("share of rows below")
    axes.legend(fontsize=7)
