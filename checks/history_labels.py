"""Categories that look like another: labels exchanged consistently leave every distribution and relation as it was.

A category's signature is how the other columns are in it (the statistics "by category"). It is compared with its own
signature in earlier partitions and with those of its sisters.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from checks.history_statistic import Statistic

CLEARLY, BEYOND_DOUBT = 0.85, 0.5  # how much nearer another signature must be than its own; the second among many
FEW_SISTERS = 4
LEAST = 0.02  # squashed units: differences below this are noise, whatever the error says
FEW = 5  # columns that a signature needs

Signatures = dict[str, dict[str, Statistic]]


def mistaken(
    now: Mapping[str, Statistic], past: Sequence[Mapping[str, Statistic]], shares: Mapping[str, Statistic]
) -> dict[str, float]:
    """Return, for each text column, the share of rows in categories that seem to have exchanged their labels."""
    own, before = _signatures(now), [_signatures(p) for p in past]
    found: dict[str, float] = {}
    for column in {_column(label) for label in own}:
        labels = [label for label in own if _column(label) == column and any(label in b for b in before)]
        if len(labels) >= 2:
            like = {label: _likest(own[label], label, labels, before) for label in labels}
            exchanged = [label for label in labels if like[label] != label and _returns(label, like)]
            found[column] = float(sum(shares[label].value for label in exchanged if label in shares))
    return found


def _likest(own: Mapping[str, Statistic], label: str, labels: Sequence[str], before: Sequence[Signatures]) -> str:
    """Return the category whose earlier signature is nearest: another than itself only if it is clearly nearer."""
    distances = {name: min(_distance(own, b[name]) for b in before if name in b) for name in labels}
    nearest = min(labels, key=lambda name: distances[name])
    nearer = CLEARLY if len(labels) <= FEW_SISTERS else BEYOND_DOUBT
    return nearest if distances[nearest] < nearer * distances[label] else label


def _returns(label: str, like: Mapping[str, str]) -> bool:
    """Whether following the likeness leads back: an exchange does, a category that resembles a sister does not."""
    at = like[label]
    for _ in like:
        if at == label:
            return True
        at = like[at]
    return False


def _distance(a: Mapping[str, Statistic], b: Mapping[str, Statistic]) -> float:
    names = [n for n in a if n in b]
    if len(names) < FEW:
        return np.inf
    steps = [abs(a[n].value - b[n].value) / (a[n].error + b[n].error + LEAST) for n in names]
    return float(np.mean(steps))


def _signatures(statistics: Mapping[str, Statistic]) -> Signatures:
    found: Signatures = {}
    for subject, statistic in statistics.items():
        name, _, label = subject.rpartition(" | ")
        found.setdefault(label, {})[name] = statistic
    return found


def _column(label: str) -> str:
    return label.split(" = ")[0]
