"""What moved, in words: the named cause of a drifted column, from its two profiles alone.

Simple explanations are tried first (values missing, names new or gone, a single value, a shift, another scale, flipped
signs); what none of them explains is told by the range of values that gained or lost most.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from checks.drift_profile import Categories, Numbers, Profile
from checks.drift_statistics import Comparison, by_value, compare, wasserstein

EXPLAINED = 0.3  # a simple change explains a move if at most this share of the distance is left without it
ONE_WAY = 0.9  # values moved one way if the mean moved by this share of the distance
SINGLE_VALUE = 0.5  # so does a single value that makes up this share of the largest gap
NAMED = 3  # values told at most
CUTS = (0.1, 0.25, 0.5, 0.75, 0.9)  # quantiles of the reference between which the rest is told
SUDDEN = 2.0  # a move is sudden if it is this many times those of the months before it


def cause(reference: Profile, current: Profile, found: Comparison, broken: Collection[str]) -> str:
    """Return what moved. `broken` names the statistics that reached their bound."""
    return "; ".join(_causes(reference, current, found, broken))


def timing(months: Sequence[tuple[str, Profile]], current: Profile) -> str:
    """Say whether a move came at once or over the months before; "" if these are fewer than two."""
    if len(months) < 2:
        return ""
    steps = [compare(a, b).distance for (_, a), (_, b) in pairwise(months)]
    last, usual = compare(months[-1][1], current).distance, max(steps)
    how = "sudden" if last >= SUDDEN * usual else "within what months differ" if last <= usual else "growing"
    return f"{how}: {last:.2f} from {months[-1][0]}, the months before were at most {usual:.2f} apart"


def _causes(reference: Profile, current: Profile, found: Comparison, broken: Collection[str]) -> Iterator[str]:
    if not current.present:
        yield f"no row has a value any more ({1 - found.missing:.1%} of the reference's have)"
        return
    if not reference.present:
        yield f"{1 - found.now_missing:.1%} of rows have a value; none of the reference's has"
        return
    if "missing" in broken:
        way = "up" if found.now_missing > found.missing else "down"
        yield f"missing values {way} from {found.missing:.1%} to {found.now_missing:.1%} of rows"
    if type(reference) is not type(current):
        kinds = {Numbers: "numbers", Categories: "names"}
        yield f"type changed: {kinds[type(reference)]} in the reference, {kinds[type(current)]} now"
    elif isinstance(reference, Numbers) and isinstance(current, Numbers) and found.method == "wasserstein":
        if {"distance", "ks", "psi"} & set(broken):
            yield f"{_moved(reference, current)} ({_summary(reference, current)})"
        elif {"appeared", "vanished"} & set(broken):
            yield from _values(reference, current, found, broken)
    elif set(broken) - {"missing"}:
        yield from _values(reference, current, found, broken)


def _values(reference: Profile, current: Profile, found: Comparison, broken: Collection[str]) -> Iterator[str]:
    values, old, new = by_value(reference, current)
    if "appeared" in broken:
        yield f"new: {_list(values, new * (old == 0))} ({found.appeared:.1%} of the values present)"
    if "vanished" in broken:
        yield f"gone: {_list(values, old * (new == 0))} ({found.vanished:.1%} of the reference's values)"
    both = np.where((old > 0) & (new > 0), np.abs(new - old), 0)
    if not {"appeared", "vanished"} & set(broken) and both.any():
        most = np.argsort(-both, kind="stable")[:NAMED]
        moved = ", ".join(f"{_name(values[i])} {old[i]:.1%} -> {new[i]:.1%}" for i in most if both[i] > 0)
        yield f"shares moved: {moved}"


def _list(values: NDArray[np.generic], shares: NDArray[np.float64]) -> str:
    most = [i for i in np.argsort(-shares, kind="stable")[:NAMED] if shares[i] > 0]
    more = int((shares > 0).sum()) - len(most)
    told = ", ".join(f"{_name(values[i])} {shares[i]:.1%}" for i in most)
    return told + (f" and {more} more" if more > 0 else "")


def _name(value: np.generic) -> str:
    return f"{value:.6g}" if isinstance(value, np.floating) else f"'{str(value)[:40]}'"


def _moved(reference: Numbers, current: Numbers) -> str:
    single = _single_value(reference, current)
    if single:
        return single
    whole, _ = wasserstein(reference, current)
    for explanations in (_simple, _shifted_and_stretched):
        left = {told: wasserstein(changed, current)[0] for told, changed in explanations(reference, current)}
        told = min(left, key=lambda told: left[told], default="")
        if told and left[told] <= EXPLAINED * whole:
            return told
    by = current.mean - reference.mean
    ordered = abs(by) >= ONE_WAY * whole
    how = f"values are {'higher' if by > 0 else 'lower'} throughout" if ordered else "shape changed"
    return f"{how}: {_range(reference, current)}"


def _single_value(reference: Numbers, current: Numbers) -> str:
    """Name the one value that gained or lost most, if it is most of what happened."""
    values, old, new = by_value(reference, current)
    gain = new - old
    most = int(np.argmax(np.abs(gain)))
    if abs(gain[most]) < SINGLE_VALUE * np.abs(gain).sum() / 2 or len(values) == 2:
        return ""
    others = np.delete(gain, most)
    if others.size and np.abs(others).max() > abs(gain[most]) / 2:
        return ""
    return f"the value {values[most]:.6g} is {new[most]:.1%} of the values, was {old[most]:.1%}"


def _simple(reference: Numbers, current: Numbers) -> Iterator[tuple[str, Numbers]]:
    """Yield simple changes in words, and the reference after each of them."""
    by = current.mean - reference.mean
    yield f"whole distribution shifted by {by:+.4g}", _changed(reference, 1.0, by)
    if reference.mean * current.mean > 0:
        factor = current.mean / reference.mean
        yield f"all values times {factor:.4g}", _changed(reference, factor, 0.0)
    yield "signs flipped", _changed(reference, -1.0, 0.0)
    if reference.deviation > 0 and current.deviation > 0:
        factor = current.deviation / reference.deviation
        yield f"{_wider(factor)} about the same mean", _changed(reference, factor, reference.mean * (1 - factor))


def _shifted_and_stretched(reference: Numbers, current: Numbers) -> Iterator[tuple[str, Numbers]]:
    if reference.deviation > 0 and current.deviation > 0:
        by, factor = current.mean - reference.mean, current.deviation / reference.deviation
        changed = _changed(reference, factor, current.mean - factor * reference.mean)
        yield f"shifted by {by:+.4g} and {_wider(factor)}", changed


def _wider(factor: float) -> str:
    return f"spread {'grew' if factor > 1 else 'shrank'} {max(factor, 1 / factor):.3g} times"


def _changed(profile: Numbers, factor: float, by: float) -> Numbers:
    values, counts = profile.values * factor + by, profile.counts
    return Numbers(values[::-1], counts[::-1], 0) if factor < 0 else Numbers(values, counts, 0)


def _range(reference: Numbers, current: Numbers) -> str:
    """Tell between which quantiles of the reference the share of values changed most."""
    cuts = np.unique([reference.quantile(share) for share in CUTS])
    edges = np.concatenate(([-np.inf], cuts, [np.inf]))
    old, new = (np.diff([_share_until(profile, edge) for edge in edges]) for profile in (reference, current))
    most = int(np.argmax(np.abs(new - old)))
    low, high = edges[most], edges[most + 1]
    over, under = f"over {low:.4g}", f"up to {high:.4g}"
    where = over if np.isinf(high) else under if np.isinf(low) else f"{low:.4g} to {high:.4g}"
    return f"{new[most]:.1%} of them are {where}, were {old[most]:.1%}"


def _share_until(profile: Numbers, edge: float) -> float:
    return float(profile.counts[: np.searchsorted(profile.values, edge, "right")].sum() / profile.present)


def _summary(reference: Numbers, current: Numbers) -> str:
    pairs = (
        ("mean", reference.mean, current.mean),
        ("median", reference.quantile(0.5), current.quantile(0.5)),
        ("std", reference.deviation, current.deviation),
    )
    return ", ".join(f"{name} {old:.4g} -> {new:.4g}" for name, old, new in pairs)
