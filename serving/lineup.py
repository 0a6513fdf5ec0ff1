"""A plan at work: the scorers of its versions, readers of what they need, and which row goes where.

Immutable, so that a batch is answered by one plan from its first step to its last. Runs in the serving environment.
"""

from functools import cached_property

from serving.assignment import Assignment
from serving.plan import ANSWERING, Plan, View
from serving.reader import Need, Reader
from serving.scorer import Call, Scorer
from serving.sessions import Sessions

_Opened = tuple[str, int, tuple[View, ...], bool]  # store, cache, views, and whether it is for who answers nobody


class Lineup:
    """One revision of one model. Opening it raises what keeps one of its versions from answering."""

    def __init__(
        self, plan: Plan, sessions: Sessions, before: "Lineup | None" = None, call: Call | None = None
    ) -> None:
        """Open the plan's graphs and its store, or take over what the lineup `before` has open.

        Raises LookupError or ValueError if a file is missing or does not fit, OnlineStoreError if the store is down.
        """
        self.plan = plan
        self.views = tuple(view.name for view in plan.views)
        self.assignment = Assignment(plan)
        self.scorers = tuple(Scorer(plan, arm, sessions, call) for arm in plan.lineup)
        self._opened: dict[_Opened, Reader] = self._open_readers({} if before is None else before._opened)
        self._readers = {(reader.need, key[-1]): reader for key, reader in self._opened.items()}
        at_work = [s for s in self.scorers if s.arm.variant in ("champion", "previous", "shadow", *ANSWERING)]
        sessions.keep(scorer.version.onnx for scorer in at_work)
        for scorer in self.scorers:
            scorer.open(lazy=scorer not in at_work)

    @property
    def champion(self) -> Scorer:
        """The one that answers what no other has a share of."""
        return self.scorers[0]

    @cached_property
    def needs(self) -> frozenset[Need]:
        """What those read who answer a share of the keys; mostly one need."""
        return frozenset(s.need for s in self.scorers if s.arm.variant in ("champion", *ANSWERING))

    @cached_property
    def alike(self) -> bool:
        """Whether all read the same views who may answer anybody, a probe among them."""
        return len({s.need for s in self.scorers if s.arm.variant != "shadow"}) == 1

    def of_version(self, version: str) -> Scorer | None:
        """Return the scorer of a version, None if the plan does not name it."""
        return next((scorer for scorer in self.scorers if scorer.version.version == version), None)

    def reader(self, scorer: Scorer, aside: bool = False) -> Reader:
        """Return what reads the views of a version; `aside`: for who answers nobody, if it reads other views."""
        own = scorer.need, aside
        return self._readers[own if own in self._readers else (scorer.need, not aside)]

    def files(self) -> list[str]:
        """Return the ONNX files of all versions."""
        return [scorer.version.onnx for scorer in self.scorers]

    def close(self) -> None:
        """Close this thread's connections to the store."""
        for reader in self._readers.values():
            reader.close()

    def _open_readers(self, before: dict[_Opened, Reader]) -> dict[_Opened, Reader]:
        keys = dict.fromkeys(self._key(s, False) for s in self.scorers if s.arm.variant != "shadow")
        for scorer in self.scorers:
            if scorer.arm.variant == "shadow" and {scorer.need} != self.needs:
                keys[self._key(scorer, True)] = None
        return {key: before.get(key) or Reader(self.plan, key[2]) for key in keys}

    def _key(self, scorer: Scorer, aside: bool) -> _Opened:
        plan = self.plan
        return plan.online_store, plan.feature_cache_ms, plan.views_of(scorer.version), aside
