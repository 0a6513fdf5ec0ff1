"""How old the newest online row of a view is, by the platform's clock. Never blocks: late sources are no bad data."""

from datetime import UTC, datetime, timedelta

from checks.outcome import Outcome
from ml.feature_views import FeatureView
from ml.online_rows import ViewSummary

CHECK = "online_freshness"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check_freshness(view: FeatureView, online: ViewSummary, now: datetime) -> Outcome:
    """Pass if the view has online rows and the newest event is no older than its ttl: else every read gives null."""
    ttl_s = view.ttl.total_seconds()
    if online.newest_event_us is None:
        return Outcome(False, f"{view.name} has no online rows", {"rows": 0, "ttl_seconds": ttl_s})
    newest = _EPOCH + timedelta(microseconds=online.newest_event_us)
    age = now - newest
    evidence = {
        "newest_event": newest.isoformat(),
        "age_seconds": age.total_seconds(),
        "ttl_seconds": ttl_s,
        "rows": online.rows,
    }
    state = "is fresh" if age <= view.ttl else "is stale"
    summary = f"{view.name} {state}: newest of {online.rows} rows is {age} old, ttl {view.ttl}"
    return Outcome(age <= view.ttl, summary, evidence, (evidence,))
