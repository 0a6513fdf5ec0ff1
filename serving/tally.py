"""Counts what a router does, in plain numbers: by how much each counter grew since it was last taken.

Batches are only put aside while they are answered, and counted some at a time. Telling Triton is in `metrics`.
"""

import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence

import numpy as np

from serving.answer import Answer
from serving.feeds import RequestError
from serving.lineup import Lineup
from serving.log_frames import NEVER
from serving.metric_families import FAMILIES, HISTOGRAMS, INFINITE, le
from serving.online_features import NOT_NEEDED, NOT_READ, STATUSES
from serving.scored import By, Scored
from serving.seen import Seen

ASIDE = 16  # batches
_ROUTER = "headwater_router_"
_ANSWER, _AGE = f"{_ROUTER}answer_seconds", f"{_ROUTER}feature_age_seconds"
_TOTALS = {name.removeprefix(_ROUTER).removesuffix("_total"): name for name in FAMILIES if name.endswith("_total")}
_BOUNDS = {name: np.array(histogram.bounds) for name, histogram in HISTOGRAMS.items()}

Series = tuple[str, tuple[str, ...]]  # a metric's name and its labels' values


class Tally:
    """A `seen.Watcher` that counts."""

    def __init__(self) -> None:
        self._aside: deque[Seen] = deque()
        self._grown: defaultdict[Series, float] = defaultdict(float)
        self._buckets: dict[Series, np.ndarray] = {}
        self._lock = threading.Lock()
        for series in (("errors", "request"), ("errors", "model"), ("probes", "failed"), ("degraded_rows",)):
            self._add(series[0], series[1:], 0)  # so that what never happened is there, and zero

    def answered(self, seen: Seen) -> None:
        """Put a batch aside, to be counted with others."""
        self._aside.append(seen)
        if len(self._aside) >= ASIDE:
            with self._lock:
                self._count()

    def shadowed(self, by: By, rows: int, seconds: float) -> None:
        """Count what a shadow scored."""
        with self._lock:
            self._scored(by, rows)
            self._observe(_ANSWER, _version(by), [seconds])

    def grow(self, name: str, labels: tuple[str, ...], amount: float) -> None:
        """Count something else; `name` is without what all names have in common."""
        with self._lock:
            self._add(name, labels, amount)

    def take(self) -> dict[Series, float]:
        """Return by how much each series grew since the last time; the first time new ones are among them, by 0."""
        with self._lock:
            self._count()
            self._spread()
            grown, self._grown = self._grown, defaultdict(float)
        return dict(grown)

    def _count(self) -> None:
        """Count what was put aside; those of one lineup together."""
        seconds: dict[tuple[str, ...], list[float]] = {}
        scored: dict[Lineup, list[tuple[Scored, np.ndarray]]] = {}
        while self._aside:
            seen = self._aside.popleft()
            if self._outcomes(seen):
                self._stages(seen)
            if seen.scored is None or seen.logged is None or not seen.logged.any():
                continue
            self._rows(seen.scored, seen.logged)
            for version in self._requests(seen):
                seconds.setdefault(version, []).append(seen.ended - seen.started)
            scored.setdefault(seen.scored.known.lineup, []).append((seen.scored, seen.logged))
        for labels, values in seconds.items():
            self._observe(_ANSWER, labels, values)
        for lineup, batches in scored.items():
            self._views(lineup, batches)

    def _outcomes(self, seen: Seen) -> int:
        """Count errors and probes; return how many requests were no probes."""
        asked = 0
        for request, answer in zip(seen.requests, seen.answers, strict=True):
            failed = isinstance(answer, Exception)
            if request.probe:
                self._add("probes", ("failed" if failed else "answered",), 1)
                continue
            asked += 1
            if failed:
                self._add("errors", ("request" if isinstance(answer, RequestError) else "model",), 1)
        return asked

    def _stages(self, seen: Seen) -> None:
        before = seen.started
        for stage, ended in seen.laps:
            self._add("stage_seconds", (stage,), ended - before)
            before = ended
        self._add("batches", (), 1)

    def _rows(self, scored: Scored, logged: np.ndarray) -> None:
        for by in scored.by:
            self._scored(by, int(by.rows(logged).sum()))

    def _scored(self, by: By, rows: int) -> None:
        self._add("rows", _version(by), 0 if by.failed else rows)
        self._add("failed_rows", _version(by), rows if by.failed else 0)

    def _requests(self, seen: Seen) -> Iterable[tuple[str, ...]]:
        """Count requests, and yield each one's versions."""
        for request, answer in zip(seen.requests, seen.answers, strict=True):
            if isinstance(answer, Answer) and not request.probe:
                for version in set(zip(answer.versions, answer.variants, strict=True)):
                    self._add("requests", version, 1)
                    yield version

    def _views(self, lineup: Lineup, batches: Sequence[tuple[Scored, np.ndarray]]) -> None:
        """Count statuses and ages of the rows of several batches."""
        status = np.concatenate([scored.status[:, logged] for scored, logged in batches], axis=1)
        ages = [scored.known.reads.time_us - scored.event_us[:, logged] for scored, logged in batches]
        known = [scored.event_us[:, logged] != NEVER for scored, logged in batches]
        age, there = np.concatenate(ages, axis=1) / 1e6, np.concatenate(known, axis=1)
        self._add("degraded_rows", (), int((status == NOT_READ).any(axis=0).sum()))
        for place, view in enumerate(lineup.views):
            for code, rows in enumerate(np.bincount(status[place], minlength=len(STATUSES)).tolist()):
                if rows and code != NOT_NEEDED:
                    self._add("view_rows", (view, STATUSES[code]), rows)
            self._observe(_AGE, (view,), age[place][there[place]])

    def _observe(self, name: str, labels: tuple[str, ...], values: Sequence[float] | np.ndarray) -> None:
        bounds = _BOUNDS[name]
        found = np.bincount(bounds.searchsorted(values), minlength=len(bounds) + 1)  # a value on a bound is below it
        self._buckets[name, labels] = self._buckets.get((name, labels), 0) + found
        self._grown[f"{name}_sum", labels] += float(np.sum(values))
        self._grown[f"{name}_count", labels] += len(values)

    def _spread(self) -> None:
        """Turn what buckets hold into counts of values up to each bound."""
        buckets, self._buckets = self._buckets, {}
        for (name, labels), found in buckets.items():
            for bound, count in zip((*_BOUNDS[name], INFINITE), np.cumsum(found).tolist(), strict=True):
                self._grown[f"{name}_bucket", (*labels, le(bound))] += count

    def _add(self, name: str, labels: tuple[str, ...], amount: float) -> None:
        self._grown[_TOTALS[name], labels] += amount


def _version(by: By) -> tuple[str, str]:
    return by.scorer.version.version, by.scorer.arm.variant
