"""How far a column has moved between two profiles: the statistics themselves, on all rows, exact.

Distance and PSI are Evidently's own for large samples (`evidently.legacy.calculations.stattests`), to 1e-9; KS is the
statistic D of scipy's `ks_2samp`. numpy only: nothing here imports Evidently, scipy or pandas.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from checks.drift_profile import Categories, Numbers, Profile, missing_share

FEW_VALUES = 5  # up to here Evidently compares numbers as if they were names
FEW_KEYS = 20  # up to here it bins them by value
LEAST_DEVIATION = 0.001
LEAST_IN_A_BIN = 50  # rows a bin, on average, from which PSI is judged
RARE = 3.3  # normal deviations exceeded either way once in a thousand times

Method = Literal["wasserstein", "jensenshannon", "none"]
Shares = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Noise:
    """What the statistics of two samples of one world reach by chance, about once in a thousand times."""

    distance: float = 0.0
    ks: float = 0.0
    psi: float = 0.0
    missing: float = 0.0
    appeared: float = 0.0
    vanished: float = 0.0


@dataclass(frozen=True)
class Comparison:
    """A column's move. What needs values on both sides is infinite if one side has none, 0 if neither has.

    `distance` is Wasserstein over the reference's standard deviation, or Jensen-Shannon; `ks` is 0 for names; `missing`
    and `now_missing` are shares of rows without a value; `appeared` is the share of today's values that the reference
    does not know, `vanished` that of the reference's which are gone; both 0 for numbers of many values.
    """

    method: Method
    distance: float = 0.0
    ks: float = 0.0
    psi: float = 0.0
    missing: float = 0.0
    now_missing: float = 0.0
    appeared: float = 0.0
    vanished: float = 0.0
    noise: Noise = field(default_factory=Noise)


def compare(reference: Profile, current: Profile) -> Comparison:
    """Return how far `current` has moved from `reference`."""
    missing, now_missing = missing_share(reference), missing_share(current)
    if not reference.present and not current.present:
        return Comparison("none", missing=missing, now_missing=now_missing)
    if not reference.present or not current.present or type(reference) is not type(current):
        return Comparison("none", np.inf, np.inf, np.inf, missing, now_missing)
    keyed = isinstance(reference, Categories) or len(reference.values) <= FEW_KEYS
    shares = by_value(reference, current)[1:] if keyed else _by_bin(reference, current)
    method, distance, ks = _distance(reference, current, shares, keyed)
    appeared, vanished = (shares[1][shares[0] == 0].sum(), shares[0][shares[1] == 0].sum()) if keyed else (0.0, 0.0)
    return Comparison(
        method, distance, ks, _psi(*shares), missing, now_missing, float(appeared), float(vanished),
        _noise(reference, current, method, shares, keyed),
    )  # fmt: skip


def by_value(reference: Profile, current: Profile) -> tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]:
    """Return all values [D] of both sides, ascending, and the share of each on either side, [D] and [D]."""
    values = np.union1d(reference.values, current.values)
    shares = np.zeros((2, len(values)))
    for share, profile in zip(shares, (reference, current), strict=True):
        share[np.searchsorted(values, profile.values)] = profile.counts / profile.present
    return values, shares[0], shares[1]


def wasserstein(reference: Numbers, current: Numbers) -> tuple[float, float]:
    """Return the first Wasserstein distance between two columns, and the largest gap of their distributions (KS)."""
    values = np.concatenate((reference.values, current.values))
    order = np.argsort(values, kind="stable")  # two sorted runs: this merges them
    pairs = reference.present * current.present
    whole: type = np.int64 if pairs < 2**62 else np.float64
    gap: NDArray[Any] = np.concatenate(
        (reference.counts.astype(whole) * current.present, current.counts.astype(whole) * -reference.present)
    )[order]
    np.abs(np.cumsum(gap, out=gap), out=gap)  # of the two distribution functions, in units of one pair of rows
    steps = np.diff(values[order])
    # Between equal values both functions are still being counted.
    largest = np.max(gap[:-1], where=steps > 0, initial=0)
    steps *= gap[:-1]  # np.dot would start BLAS's threads, which wait for one another on a busy machine
    return float(steps.sum() / pairs), float(largest / pairs)


def _distance(reference: Profile, current: Profile, shares: Shares, keyed: bool) -> tuple[Method, float, float]:
    if not isinstance(reference, Numbers) or not isinstance(current, Numbers):
        return "jensenshannon", _jensen_shannon(*shares), 0.0
    moved, ks = wasserstein(reference, current)
    if keyed and len(shares[0]) <= FEW_VALUES:
        return "jensenshannon", _jensen_shannon(*shares), ks
    return "wasserstein", moved / max(reference.deviation, LEAST_DEVIATION), ks


def _by_bin(reference: Profile, current: Profile) -> Shares:
    """Return the shares of both sides in numpy's "sturges" bins of all their values, as Evidently does."""
    low, high = (end(reference.values[i], current.values[i]) for end, i in ((min, 0), (max, -1)))
    width = (high - low) / (np.log2(reference.present + current.present) + 1.0)
    if reference.whole and current.whole:
        width = max(width, 1.0)
    edges = np.linspace(low, high, int(np.ceil((high - low) / width)) + 1)
    return _shares_between(edges, reference), _shares_between(edges, current)


def _shares_between(edges: NDArray[np.float64], profile: Profile) -> NDArray[np.float64]:
    places = np.append(
        np.searchsorted(profile.values, edges[:-1], "left"), np.searchsorted(profile.values, edges[-1], "right")
    )
    return np.array([profile.counts[a:b].sum(dtype=np.int64) for a, b in pairwise(places)]) / profile.present


def _psi(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """Population stability index, empty bins filled as Evidently fills them."""
    old, new = _filled(reference), _filled(current)
    return float(np.sum((old - new) * np.log(old / new)))


def _filled(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    least = shares[shares > 0].min()
    return np.where(shares > 0, shares, least / 1e6 if least <= 1e-4 else 1e-4)


def _jensen_shannon(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """Jensen-Shannon distance, natural logarithm: `scipy.spatial.distance.jensenshannon`."""
    old, new = reference / reference.sum(), current / current.sum()
    middle = (old + new) / 2
    return float(np.sqrt(max(_entropy(old, middle) + _entropy(new, middle), 0.0) / 2))


def _entropy(shares: NDArray[np.float64], middle: NDArray[np.float64]) -> float:
    some = shares > 0
    return float(np.sum(shares[some] * np.log(shares[some] / middle[some])))


def _noise(reference: Profile, current: Profile, method: Method, shares: Shares, keyed: bool) -> Noise:
    """Large-sample quantiles under "nothing moved": Smirnov's for KS, chi-square's for PSI and Jensen-Shannon, the
    normal's of a difference of means for Wasserstein and of shares for missing values.

    PSI is not judged where bins hold few rows: one that is empty by chance weighs as if it had gone. The share of
    unseen values to expect is Good and Turing's: that of the values which the other sample holds once.
    """
    few = 1 / reference.present + 1 / current.present
    chance = few * _chi_square(len(shares[0]) - 1)
    rows = [reference.present + reference.missing, current.present + current.missing]
    lost = (reference.missing + current.missing) / sum(rows)
    enough = min(reference.present, current.present) >= LEAST_IN_A_BIN * len(shares[0])
    return Noise(
        distance=float(np.sqrt(chance / 8 if method == "jensenshannon" else few * RARE**2)),
        ks=1.95 * float(np.sqrt(few)),
        psi=float(chance) if enough else float("inf"),
        missing=RARE * float(np.sqrt(lost * (1 - lost) * (1 / rows[0] + 1 / rows[1]))),
        appeared=_unseen(reference) if keyed else 0.0,
        vanished=_unseen(current) if keyed else 0.0,
    )


def _chi_square(freedom: int) -> float:
    """Return the quantile of chi-square that is exceeded once in a thousand times (Wilson and Hilferty, 1931)."""
    part = 2 / (9 * max(freedom, 1))
    return float(max(freedom, 1) * (1 - part + 3.09 * np.sqrt(part)) ** 3)


def _unseen(profile: Profile) -> float:
    return float((profile.counts == 1).sum() / profile.present)
