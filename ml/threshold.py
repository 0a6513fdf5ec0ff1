"""From what wrong decisions cost to the probability from which one acts, and what that costs.

The threshold of least cost is chosen on validation rows; test rows only tell what it then costs. Not here: drawing
it (ml/card_pictures.py) and keeping it (ml/candidate.py).
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ml.bootstrap import Interval, interval, resampled
from ml.evaluation import checked_binary
from ml.spec import Costs
from ml.weighted import WeightedMean

ALWAYS = 0.0  # every probability reaches it
NEVER = 1.0001  # no probability reaches it
RESAMPLES = 200
_TAILS = (0.025, 0.975)

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """What happened on N rows: labels of 0 and 1, probabilities, and the group (say day) of each."""

    labels: Numbers
    probabilities: Numbers
    groups: NDArray[np.generic]


@dataclass(frozen=True)
class Consequences:
    """What acting from a threshold on costs on a window, a row, in the costs' unit.

    `saving` is against the cheaper of never and always acting, with its 95% interval over whole groups. Precision
    is None where nothing is acted on.
    """

    rows: int
    cost: float
    never: float
    always: float
    at_theory: float
    acted: float
    precision: float | None
    recall: float
    saving: Interval


@dataclass(frozen=True)
class Decision:
    """Act where the probability is at least `threshold`; `low` and `high` are its 95% interval over whole groups.

    `theory` is the threshold that perfectly calibrated probabilities would have.
    """

    threshold: float
    low: float
    high: float
    theory: float
    validation: Consequences
    test: Consequences

    def as_metrics(self) -> dict[str, float]:
        """Return it as flat metrics; what does not exist (precision without an action) is left out."""
        found: dict[str, float | None] = {
            "decision_threshold": self.threshold,
            "decision_threshold_low": self.low,
            "decision_threshold_high": self.high,
            "decision_threshold_theory": self.theory,
        }
        for name, part in (("validation", self.validation), ("test", self.test)):
            found |= {
                f"decision_cost_per_row_{name}": part.cost,
                f"decision_cost_per_row_never_{name}": part.never,
                f"decision_cost_per_row_always_{name}": part.always,
                f"decision_precision_{name}": part.precision,
                f"decision_recall_{name}": part.recall,
                f"decision_saving_per_row_{name}": part.saving.value,
            }
        return {name: value for name, value in found.items() if value is not None}

    @property
    def summary(self) -> str:
        """One sentence on whether there is anything to decide."""
        if self.threshold == NEVER:
            return "Never act: on validation rows no threshold costs less than leaving everything as it is."
        if self.threshold == ALWAYS:
            return "Always act: on validation rows no threshold costs less than acting on every row."
        worth = (
            ""
            if self.test.saving.low > 0
            else (" On test rows that is no cheaper, beyond noise, than always acting or never acting.")
        )
        return f"Act from a probability of {self.threshold:.3f} on.{worth}"


class CostCurve:
    """The cost a row of acting from each threshold on, for all thresholds that tell N rows apart.

    `thresholds` [K] descends from NEVER to ALWAYS; between, each lies halfway between two neighbouring probabilities.
    """

    def __init__(self, costs: Costs, labels: ArrayLike, probabilities: ArrayLike) -> None:
        label, probability = checked_binary(labels, probabilities)
        self._costs = costs
        self._order = np.argsort(-probability, kind="stable")
        ordered, self._positive = probability[self._order], label[self._order]
        self._starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        known = ordered[self._starts]
        self.thresholds: Numbers = np.concatenate([[NEVER], (known[:-1] + known[1:]) / 2, [ALWAYS]])

    def __call__(self, weight: Numbers) -> Numbers:
        """Return the cost a row [K] of each threshold, with weights [N] in the rows' original order."""
        ordered = weight[self._order]
        hits = np.cumsum(np.add.reduceat(ordered * self._positive, self._starts))
        acted = np.cumsum(np.add.reduceat(ordered, self._starts))
        total, positive = acted[-1], hits[-1]
        hits, acted = np.concatenate([[0.0], hits]), np.concatenate([[0.0], acted])
        return (self._costs.false_alarm * (acted - hits) + self._costs.miss * (positive - hits)) / total

    def best(self, weight: Numbers) -> float:
        """Return the threshold of least cost; of equals the highest, which acts least."""
        return float(self.thresholds[int(np.argmin(self(weight)))])


def decide(costs: Costs, validation: Rows, test: Rows) -> Decision:
    """Choose the threshold of least cost on validation rows and tell what it costs there and on test rows.

    Raises ValueError if labels or probabilities of either are not ones, or all labels are equal.
    """
    curve = CostCurve(costs, validation.labels, validation.probabilities)
    count = len(validation.labels)
    threshold = curve.best(np.ones(count))
    drawn = [curve.best(weight) for weight in resampled(count, validation.groups, RESAMPLES)]
    low, high = np.quantile(drawn, _TAILS)
    after = partial(consequences, costs, threshold)
    return Decision(threshold, float(low), float(high), theory(costs), after(validation), after(test))


def theory(costs: Costs) -> float:
    """Return the threshold of least expected cost for calibrated probabilities: false_alarm / (false_alarm + miss).

    Acting costs (1 - p) * false_alarm, not acting p * miss: Elkan, The Foundations of Cost-Sensitive Learning,
    IJCAI 2001, section 2.
    """
    return costs.false_alarm / (costs.false_alarm + costs.miss)


def consequences(costs: Costs, threshold: float, rows: Rows) -> Consequences:
    """Return what acting from `threshold` on costs on `rows`."""
    label, probability = checked_binary(rows.labels, rows.probabilities)
    acts = probability >= threshold
    here, never, always = (_costs(costs, label, choice) for choice in (acts, False, True))
    otherwise = never if never.mean() <= always.mean() else always
    hits = float((acts & (label == 1)).sum())
    return Consequences(
        rows=len(label),
        cost=float(here.mean()),
        never=float(never.mean()),
        always=float(always.mean()),
        at_theory=float(_costs(costs, label, probability >= theory(costs)).mean()),
        acted=float(acts.mean()),
        precision=hits / float(acts.sum()) if acts.any() else None,
        recall=hits / float(label.sum()),
        saving=interval(WeightedMean(otherwise - here), len(label), rows.groups, RESAMPLES),
    )


def _costs(costs: Costs, label: Numbers, acts: NDArray[np.bool_] | bool) -> Numbers:
    """Return each row's cost [N]."""
    return np.where(acts, (label == 0) * costs.false_alarm, (label == 1) * costs.miss).astype(np.float64)


def readable(threshold: float) -> str:
    """Return a threshold for people."""
    if math.isclose(threshold, NEVER):
        return "never"
    return "always" if threshold == ALWAYS else f"{threshold:.3f}"
