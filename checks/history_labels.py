"""Categories that look like another: labels exchanged consistently leave every distribution and relation as it was.

A category's signature is how the other columns are in it (the statistics "by category"). It is compared with its own
signature in earlier partitions and with those of its sisters.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from checks.history_statistic import Statistic

CLEARLY, BEYOND_DOUBT = 0.85, 0.5  # how much nearer than its own another signature is; the second among many sisters
FEW_SISTERS = 4
LEAST = 0.02  # squashed units: differences below this are noise, whatever the error says
FEW = 5  # columns that a signature needs
RECENT = 3  # partitions whose signatures are compared: the nearest count anyway


def exchanged(
    now: Mapping[str, Statistic], past: Sequence[Mapping[str, Statistic]], shares: Mapping[str, Statistic]
) -> dict[str, float]:
    """Return, for each text column, the share of rows in categories that seem to have exchanged their labels."""
    before = past[-RECENT:]
    labels: dict[str, list[str]] = {}
    for label in dict.fromkeys(subject.rpartition(" | ")[2] for subject in now):
        labels.setdefault(label.split(" = ")[0], []).append(label)
    found = {}
    for column, own in labels.items():
        if len(own) >= 2 and before:
            like = _likest(own, np.min([_distances(own, now, b) for b in before], axis=0))
            taken = [label for label in own if like[label] != label and _returns(label, like)]
            found[column] = float(sum(shares[label].value for label in taken if label in shares))
    return found


def _distances(labels: Sequence[str], now: Mapping[str, Statistic], past: Mapping[str, Statistic]) -> np.ndarray:
    """How far each category's signature is from each one's earlier signature, in errors: (now, earlier)."""
    names = dict.fromkeys(s.rpartition(" | ")[0] for s in now if s.rpartition(" | ")[2] in set(labels))
    absent = Statistic(np.nan, np.nan)
    a, b = (
        [[statistics.get(f"{name} | {label}", absent) for name in names] for label in labels]
        for statistics in (now, past)
    )
    values = [np.array([[s.value for s in row] for row in rows]) for rows in (a, b)]
    errors = [np.array([[s.error for s in row] for row in rows]) for rows in (a, b)]
    steps = np.abs(values[0][:, None] - values[1]) / (errors[0][:, None] + errors[1] + LEAST)
    known = np.isfinite(steps).sum(axis=2)
    return np.where(known >= FEW, np.nansum(steps, axis=2) / np.maximum(known, 1), np.inf)


def _likest(labels: Sequence[str], distances: np.ndarray) -> dict[str, str]:
    """Return the category whose earlier signature is nearest to each: another only if it is clearly nearer."""
    nearer = CLEARLY if len(labels) <= FEW_SISTERS else BEYOND_DOUBT
    nearest = distances.argmin(axis=1)
    return {
        label: labels[j] if np.isfinite(distances[i, i]) and distances[i, j] < nearer * distances[i, i] else label
        for i, (label, j) in enumerate(zip(labels, nearest, strict=True))
    }


def _returns(label: str, like: Mapping[str, str]) -> bool:
    """Whether following the likeness leads back: an exchange does, a category that resembles a sister does not."""
    at = like[label]
    for _ in like:
        if at == label:
            return True
        at = like[at]
    return False
