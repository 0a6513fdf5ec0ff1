"""What a partition leaves behind so that later ones can be asked whether they repeat it: categories, fences, sketches.

A sketch keeps the smallest of a set's hashes, so that two sketches tell how much two sets have in common (bottom-k
sketch, Cohen and Kaplan 2007). Hashes are ours, so that they mean the same in any process and version.
"""

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from checks.history_statistic import mean_of
from checks.history_views import Views

TOUCHED = 0.005  # of the rows, that have the least or greatest number of a column, make it a limit
CHANCE = 3  # hashes of a sketch that two partitions may share by accident
ROWS, RUNS, RUN = 1_000, 60, 6  # hashes kept of rows, and of each column's runs of so many successive values
LISTED = 400  # a text column with more values keeps their hashes only
FENCE, WANDER = 4.0, 10.0  # standard errors of the mean, and units of a column beyond its 1% and 99%


@dataclass(frozen=True)
class Memory:
    """`categories`: hashes of each text column's values. `fences`: the plausible range of each column of numbers.

    `edges`: its least and greatest number, where so many rows have it that it seems a limit; infinite elsewhere.

    `sketches`: the smallest hashes of rows (under "rows") and of runs of a column's values. `repeats`: the share of
    each of these sets that is not unique within the partition.
    """

    categories: Mapping[str, np.ndarray]
    fences: Mapping[str, tuple[float, float]]
    edges: Mapping[str, tuple[float, float]]
    sketches: Mapping[str, np.ndarray]
    repeats: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {
            "categories": {n: _packed(v.astype(np.uint32)) for n, v in self.categories.items()},
            "fences": {n: [float(f"{x:.5g}") for x in v] for n, v in self.fences.items()},
            "edges": {n: [repr(x) for x in v] for n, v in self.edges.items()},
            "sketches": {n: _packed(v) for n, v in self.sketches.items()},
            "repeats": {n: round(v, 5) for n, v in self.repeats.items()},
        }

    @staticmethod
    def from_dict(told: Mapping[str, Any]) -> "Memory":
        """Read what `to_dict` wrote."""
        return Memory(
            {n: _unpacked(v, np.uint32) for n, v in told["categories"].items()},
            {n: (v[0], v[1]) for n, v in told["fences"].items()},
            {n: (float(v[0]), float(v[1])) for n, v in told["edges"].items()},
            {n: _unpacked(v, np.uint64) for n, v in told["sketches"].items()},
            told["repeats"],
        )


def remember(views: Views, calendar: Sequence[str]) -> Memory:
    """Return the memory of a partition; columns in `calendar` only say when a row is and are left out of sketches."""
    columns = _hashed(views, calendar)
    sketches, repeats = {}, {}
    if len(columns) > 1:
        known = np.sum([k for _, k in columns.values()], axis=0) > len(columns) / 2
        rows = _mixed([h for h, _ in columns.values()])[known]
        sketches["rows"], repeats["rows"] = _smallest(rows, ROWS), _repeated(rows)
    for label, order in (("own row before", views.by_entity), ("row before in time", views.by_time)):
        for name, (values, known) in columns.items():
            if name in views.plain and views.distinct[name].size >= 20 and known.mean() > 0.5:
                runs = _runs(values[order][known[order]])
                repeats[f"{name}, {label}"] = _repeated(runs)
                if repeats[f"{name}, {label}"] < 0.3:
                    sketches[f"{name}, {label}"] = _smallest(runs, RUNS)
    fences = {n: fence(views, n) for n in views.plain if n in views.quantiles}
    edges = {n: _edges(views.sorted[n]) for n in fences if n not in calendar}
    return Memory({n: v for n, (_, v) in category_hashes(views).items()}, fences, edges, sketches, repeats)


def seen_before(now: Memory, past: Sequence[Memory]) -> dict[str, float]:
    """Return the share of each of `now`'s sets that earlier partitions held already."""
    found = {}
    for name, hashes in now.sketches.items():
        others = [m.sketches[name] for m in past if name in m.sketches and m.sketches[name].size]
        shares = [0.0]
        for other in others:
            below = hashes[hashes <= other[-1]]
            if below.size >= 20:
                shares.append(max(int(np.isin(below, other).sum()) - CHANCE, 0) / below.size)
        if others:
            found[name] = max(shares)
    return found


def category_hashes(views: Views) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return each text column's hashes, by code and sorted; a column that is nearly a key is left out."""
    found = {}
    for name, (_, kinds) in views.text_codes.items():
        if 0 < len(kinds) <= max(LISTED, views.height / 2):
            hashes = np.array([zlib.crc32(k.encode()) for k in kinds], dtype=np.uint32)
            found[name] = (hashes, np.sort(hashes))
    return found


def fence(views: Views, name: str) -> tuple[float, float]:
    """Return the numbers beyond which a value of a column is an outlier."""
    q = views.quantiles[name]
    unit = max(q[-2] - q[1], q[-1] - q[0], abs(q[3]) * 0.1) / 2
    width = FENCE * unit + WANDER * mean_of(views, name).error
    return float(q[0] - width), float(q[-1] + width)


def fence_of(past: Sequence[Memory], name: str) -> tuple[float, float]:
    """Return the widest fence that earlier partitions set for a column. Raises ValueError if none did."""
    fences = [m.fences[name] for m in past if name in m.fences]
    return min(low for low, _ in fences), max(high for _, high in fences)


def edges_of(past: Sequence[Memory], name: str) -> tuple[float, float]:
    """Return the limits of a column that all earlier partitions agree on; infinite where they do not."""
    edges = [m.edges[name] for m in past if name in m.edges]
    lows, highs = {low for low, _ in edges}, {high for _, high in edges}
    return lows.pop() if len(lows) == 1 else -np.inf, highs.pop() if len(highs) == 1 else np.inf


def _edges(ordered: np.ndarray) -> tuple[float, float]:
    enough = max(10, TOUCHED * ordered.size)
    low = np.searchsorted(ordered, ordered[0], "right") >= enough
    high = ordered.size - np.searchsorted(ordered, ordered[-1], "left") >= enough
    return float(ordered[0]) if low else -np.inf, float(ordered[-1]) if high else np.inf


def unseen(now: Memory, past: Sequence[Memory]) -> dict[str, float]:
    """Return the share of each text column's values that no earlier partition had."""
    found = {}
    for name, hashes in now.categories.items():
        known = [m.categories[name] for m in past if name in m.categories]
        if known:
            found[name] = 1 - float(np.isin(hashes, np.concatenate(known)).mean())
    return found


def beyond(views: Views, name: str, fences: tuple[float, float]) -> float:
    """Return the share of a column's numbers that are outside of fences."""
    ordered = views.sorted[name]
    inside = np.searchsorted(ordered, fences[1], "right") - np.searchsorted(ordered, fences[0], "left")
    return 1 - float(inside) / max(ordered.size, 1)


def _hashed(views: Views, calendar: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Hash each column that measures something: (hashes, known) by row."""
    found = {}
    for name in views.names:
        if name in calendar or name in views.key or name in views.instants:
            continue
        if name in views.texts:
            codes, kinds = views.text_codes[name]
            hashes = np.array([zlib.crc32(k.encode()) for k in kinds] + [0], dtype=np.uint64)
            found[name] = (_mix(hashes)[codes], codes < len(kinds))
        elif name in views.numbers and views.sorted[name].size and views.distinct[name].size > 1:
            known = ~np.isnan(views.numbers[name])
            found[name] = (_mix(np.where(known, views.numbers[name] + 0.0, 0.0).view(np.uint64)), known)
    return found


def _mix(x: np.ndarray) -> np.ndarray:
    """The finalizer of splitmix64."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def _mixed(parts: Sequence[np.ndarray]) -> np.ndarray:
    total = np.zeros_like(parts[0])
    for part in parts:
        total = _mix(total * np.uint64(31) + part)
    return total


def _runs(values: np.ndarray) -> np.ndarray:
    count = values.size - RUN + 1
    return _mixed([values[i : i + count] for i in range(RUN)]) if count > RUN * 10 else np.zeros(0, np.uint64)


def _smallest(hashes: np.ndarray, count: int) -> np.ndarray:
    few = np.partition(hashes, count * 3)[: count * 3] if hashes.size > count * 4 else hashes
    return np.unique(few)[:count]


def _repeated(hashes: np.ndarray) -> float:
    if hashes.size > 4_000:  # equal hashes stay together, so that a quarter of them tells as much
        hashes = hashes[hashes & np.uint64(3) == 0]
    ordered = np.sort(hashes)
    return float(np.count_nonzero(ordered[1:] == ordered[:-1])) / max(ordered.size, 1)


def _packed(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _unpacked(text: str, kind: type) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype=kind)
