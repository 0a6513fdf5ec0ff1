"""The pictures of a model card: calibration, what the score rests on, and what each threshold costs."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.evidence import Evidence
from ml.pictures import picture
from ml.spec import Costs
from ml.threshold import Decision

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CALIBRATION, IMPORTANCE, THRESHOLD = "card_calibration.png", "card_importance.png", "card_threshold.png"
BARS = 15
_GREY, _BLUE, _RED = "#8a8f98", "#2f6fb0", "#d1495b"


def pictures(evidence: Evidence, costs: Costs | None) -> dict[str, bytes]:
    """Return the card's pictures by file name, as PNG."""
    found = {
        CALIBRATION: picture(lambda axes: _calibration(axes, evidence.calibration), (4.2, 3.4)),
        IMPORTANCE: picture(lambda axes: _importance(axes, evidence.importance), (6.2, 3.8)),
    }
    decision = evidence.decision
    if decision is not None and costs is not None:
        found[THRESHOLD] = picture(lambda axes: _threshold(axes, evidence.curves, decision, costs), (6.2, 3.2))
    return found


def _calibration(axes: "Axes", curve: NDArray[np.float64]) -> None:
    low, high = float(curve[:, :2].min()), float(curve[:, :2].max())
    axes.plot([low, high], [low, high], color=_GREY, linestyle="--", linewidth=1, label="perfect")
    axes.plot(
        curve[:, 0], curve[:, 1], color=_BLUE, marker="o", markersize=4, label=f"{len(curve)} equal parts of test"
    )
    axes.set_xlabel("mean answer")
    axes.set_ylabel("mean label: what happened")
    axes.legend(fontsize=8)


def _importance(axes: "Axes", importance: pl.DataFrame) -> None:
    top = importance.head(BARS).reverse()
    axes.barh(top["feature"].to_list(), top["loss"].to_list(), color=_BLUE)
    axes.tick_params(labelsize=7)
    axes.set_xlabel("score lost when the input is shuffled among rows")


def _threshold(axes: "Axes", curves: dict[str, NDArray[np.float64]], decision: Decision, costs: Costs) -> None:
    for (name, curve), colour in zip(curves.items(), (_GREY, _BLUE), strict=True):
        axes.plot(np.minimum(curve[:, 0], 1.0), curve[:, 1], color=colour, label=f"{name} rows")
    axes.axvline(min(decision.threshold, 1.0), color=_RED, linewidth=1, label="chosen")
    axes.axvline(decision.theory, color=_GREY, linewidth=1, linestyle="--", label="theory")
    axes.axhline(decision.test.never, color=_GREY, linewidth=1, linestyle=":", label="never act (test)")
    worst = max(decision.validation.never, decision.test.never)
    # Acting always may cost many times more: it would flatten all the rest.
    axes.set_ylim(0, 2 * max(worst, decision.test.cost) if decision.test.always > 3 * worst else None)
    axes.set_xlabel("act from this probability on")
    axes.set_ylabel(f"{costs.unit} a row")
    axes.legend(fontsize=7)
