"""How late the newest row is, of an online view and of a landed month, by the platform's clock.

Never blocks: late sources are no bad data.
"""

from datetime import UTC, datetime, timedelta

from checks.outcome import Outcome
from ml.feature_views import FeatureView
from ml.online_rows import ViewSummary

CHECK = "online_freshness"
ARRIVAL = "freshness"

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


def check_arrival(newest: datetime | None, expected_until: datetime, within: timedelta, now: datetime) -> Outcome:
    """Pass if a month's newest event is at most `within` before the month's end, or before `now` while it goes on.

    Args:
        newest: Newest event_timestamp (UTC) of the month; None without rows.
        expected_until: The instant (UTC) up to which the month should have been heard of, if it is over.
        within: What the source declares: how long it may be silent.
        now: The platform's clock.
    """
    if newest is None:
        return Outcome(False, "the month has no rows", {"rows": 0})
    due = min(expected_until, now)
    late = max(due - newest, timedelta(0))
    evidence = {
        "newest_event": newest.isoformat(),
        "expected_until": due.isoformat(),
        "late_seconds": late.total_seconds(),
        "allowed_seconds": within.total_seconds(),
    }
    state = "is fresh" if late <= within else "is late"
    summary = f"{state}: newest event {newest:%Y-%m-%d %H:%M} UTC, {late} before {due:%Y-%m-%d %H:%M}; allowed {within}"
    return Outcome(late <= within, summary, evidence, (evidence,))
