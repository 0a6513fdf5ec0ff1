"""A plan at work: the scorers of its versions, its online features, and which row goes where.

Immutable, so that a batch is answered by one plan from its first step to its last. Runs in the serving environment.
"""

from serving.assignment import Assignment
from serving.online_features import OnlineFeatures
from serving.plan import ANSWERING, Plan
from serving.scorer import Call, Scorer
from serving.sessions import Sessions


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
        self.features = _features(plan, before)
        at_work = [s for s in self.scorers if s.arm.variant in ("champion", "previous", "shadow", *ANSWERING)]
        sessions.keep(scorer.version.onnx for scorer in at_work)
        for scorer in self.scorers:
            scorer.open(lazy=scorer not in at_work)

    @property
    def champion(self) -> Scorer:
        """The one that answers what no other has a share of."""
        return self.scorers[0]

    def of_version(self, version: str) -> Scorer | None:
        """Return the scorer of a version, None if the plan does not name it."""
        return next((scorer for scorer in self.scorers if scorer.version.version == version), None)

    def files(self) -> list[str]:
        """Return the ONNX files of all versions."""
        return [scorer.version.onnx for scorer in self.scorers]


def _features(plan: Plan, before: Lineup | None) -> OnlineFeatures:
    if before is not None and _reading(plan) == _reading(before.plan):
        return before.features
    features = OnlineFeatures(plan.online_store, plan.views, plan.feature_cache_ms / 1000)
    features.require()
    return features


def _reading(plan: Plan) -> tuple[object, ...]:
    return plan.online_store, plan.views, plan.feature_cache_ms
