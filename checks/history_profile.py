"""A partition's profile: schema, statistics and memory, as JSON small enough to keep: history is never recomputed."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from checks.history_columns import (
    SKEWED,
    STEPS,
    calendar,
    clockwork,
    is_skewed,
    moments,
    spans,
    steps,
    texts,
    values,
    volume,
)
from checks.history_dependencies import Dependencies
from checks.history_exact import Exceptions
from checks.history_labels import exchanged
from checks.history_memory import Memory, beyond, edges_of, fence, fence_of, remember, seen_before, unseen
from checks.history_nulls import ONLY_WITH, nulls_by, nulls_together
from checks.history_pairs import apart, astray
from checks.history_relations import Matrix, by_category, by_day, correlations, neighbours, pace
from checks.history_sequence import sequence
from checks.history_statistic import Statistic, Statistics
from checks.history_views import ARROW, Views

HELD = ("dependency", "order", "sum", "calendar", "steps", "nulls together")  # found in one, tried on the next
FORMAT = "1"  # raise it when what a statistic or hash means changes: profiles of another format are not compared


@dataclass(frozen=True)
class Profile:
    """What is kept of a good partition. `skewed` names the columns whose levels are read on a square-root scale."""

    partition: str
    rows: int
    schema: Mapping[str, str]
    statistics: Statistics
    skewed: tuple[str, ...]
    memory: Memory

    def to_json(self) -> str:
        """Return at most about 200 kB of JSON for a table of 20 columns."""
        told = {
            "format": FORMAT,
            "partition": self.partition,
            "rows": self.rows,
            "schema": dict(self.schema),
            "statistics": {r: {s: _short(v) for s, v in found.items()} for r, found in self.statistics.items()},
            "skewed": self.skewed,
            "memory": self.memory.to_dict(),
        }
        return json.dumps(told, separators=(",", ":"))

    @staticmethod
    @lru_cache(maxsize=32)  # a year is judged month by month, each by all before it
    def from_json(text: str) -> "Profile":
        """Read what `to_json` wrote. Raises ValueError for a profile of another format."""
        told = json.loads(text)
        if told.get("format") != FORMAT:
            raise ValueError(f"profile has format {told.get('format')}, wanted {FORMAT}; make it again from its rows")
        statistics = {r: {s: Statistic(*v) for s, v in found.items()} for r, found in told["statistics"].items()}
        memory = Memory.from_dict(told["memory"])
        return Profile(told["partition"], told["rows"], told["schema"], statistics, tuple(told["skewed"]), memory)

    def held(self) -> set[str]:
        """Return the names of the exact rules that this partition knows."""
        return {rule for kind in HELD for rule in self.statistics.get(kind, ())}


def build(views: Views, wanted: Collection[str] = ()) -> Profile:
    """Compute the profile of a partition; rules `wanted` are tried even where they would not be found."""
    schema = {name: str(dtype) for name, dtype in views.frame.schema.items()}
    if not views.height:
        return Profile(views.partition, 0, schema, {}, (), Memory({}, {}, {}, {}, {}))
    matrix = Matrix(views)
    dependencies = Dependencies(views).found(w for w in wanted if ARROW in w)
    exact = Exceptions(views).found(w for w in wanted if not any(m in w for m in (ARROW, ONLY_WITH, STEPS, " is the ")))
    together = correlations(matrix)
    statistics: Statistics = {
        **volume(views),
        **values(views),
        **texts(views),
        **moments(views),
        **clockwork(views),
        **nulls_by(matrix),
        **apart(matrix, together),
        **neighbours(matrix),
        **sequence(views),
        "spans": spans(views),
        "correlation": together,
        "astray": astray(matrix, together),
        "by category": by_category(matrix),
        "by day": by_day(matrix),
        "dependency": dependencies,
        "order": exact.orders,
        "sum": exact.sums,
        "constant of a sum": exact.constants,
        **pace(views),
        "nulls together": nulls_together(views, wanted),
        "calendar": calendar(views, wanted),
        "steps": steps(views, wanted),
        "outliers": {n: Statistic(beyond(views, n, fence(views, n))) for n in views.plain if n in views.quantiles},
    }
    timed = [n for n in views.names if dependencies.get(f"{views.time} -> {n}", Statistic(1.0)).value < 0.02]
    memory = remember(views, [*timed, *statistics["off the pace"]])
    statistics["repeats"] = {n: Statistic(v) for n, v in memory.repeats.items()}
    skewed = tuple(n for n in views.plain if n in views.quantiles and is_skewed(views.quantiles[n]))
    return Profile(views.partition, views.height, schema, statistics, skewed, memory)


def comparable(views: Views, now: Profile, past: Sequence[Profile]) -> tuple[Statistics, list[Statistics]]:
    """Return the statistics to judge and those of each earlier partition to judge them by.

    A column that was ever skewed is read as skewed, by one rule and not two. Outliers, repetitions and unseen
    categories of a partition are asked with regard to the partitions before it.
    """
    skewed = {n for p in past for n in p.skewed}
    own = dict(now.statistics)
    for plain, other in SKEWED.items():
        for rule, wanted in ((plain, False), (other, True)):
            own[rule] = {s: v for s, v in own.get(rule, {}).items() if (s.split(" at ")[0] in skewed) == wanted}
    memories = [p.memory for p in past]
    fenced = [n for n in views.plain if n in views.quantiles and any(n in m.fences for m in memories)]
    own["outliers"] = {n: Statistic(beyond(views, n, fence_of(memories, n))) for n in fenced}
    own["limits"] = {n: Statistic(beyond(views, n, edges_of(memories, n))) for n in fenced}
    own["seen before"] = _statistics(seen_before(now.memory, memories))
    own["unseen categories"] = _unseen(now, past)
    listed = {rule: _listed(rule, [now, *past]) for rule in ("categories", "looks")}
    own |= {rule: shares(now) for rule, shares in listed.items()}
    signatures = [p.statistics.get("by category", {}) for p in past]
    own["labels"] = _statistics(exchanged(own.get("by category", {}), signatures, own["categories"]))
    before = []
    for i, profile in enumerate(past):
        # Of a good partition it is believed that no labels are exchanged.
        asked = {rule: shares(profile) for rule, shares in listed.items()}
        asked |= {"labels": dict.fromkeys(own["labels"], Statistic(0.0))}
        asked["limits"] = dict.fromkeys(profile.memory.edges, Statistic(0.0))
        asked["unseen categories"] = _unseen(profile, past[:i])
        before.append({**profile.statistics, **asked, **_in_its_time(profile.memory, memories[:i])})
    return own, before


def _unseen(profile: Profile, past: Sequence[Profile]) -> dict[str, Statistic]:
    """Share of rows, in a column of very many categories of these, that no earlier partition had."""
    found = _statistics(unseen(profile.memory, [p.memory for p in past]))
    shares, known = profile.statistics.get("categories", {}), [p.statistics.get("categories", {}) for p in past]
    for column in {s.split(" = ")[0] for s in shares} if past else ():
        new = [v.value for s, v in shares.items() if s.split(" = ")[0] == column and not any(s in k for k in known)]
        found[column] = Statistic(float(sum(new)))
    return found


def _listed(rule: str, profiles: Sequence[Profile]) -> Callable[[Profile], dict[str, Statistic]]:
    """Return how to read a profile's categories: those that only other partitions have are there, with no rows."""
    every = {s for p in profiles for s in p.statistics.get(rule, ())}

    def shares(profile: Profile) -> dict[str, Statistic]:
        own = profile.statistics.get(rule, {})
        listed = {subject.split(" = ")[0] for subject in own}
        return {s: own.get(s, Statistic(0.0)) for s in every if s.split(" = ")[0] in listed}

    return shares


def _in_its_time(memory: Memory, earlier: Sequence[Memory]) -> Statistics:
    """What an earlier partition had in common with those before it; coincidences within it stand in for the first."""
    return {"seen before": _statistics(memory.repeats) | _statistics(seen_before(memory, earlier))}


def _statistics(shares: Mapping[str, float]) -> dict[str, Statistic]:
    return {name: Statistic(share) for name, share in shares.items()}


def _short(statistic: Statistic) -> list[float]:
    return [float(f"{x:.5g}") for x in (statistic.value, statistic.error, statistic.unit)]
