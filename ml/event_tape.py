"""The events of published views in the order in which they became known, pushed up to one instant after another.

What `ml.online_publish.push_until` does for one interval, for many in a row: tables are read and packed once.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ml.feature_views import FeatureView
from ml.online_publish import Histories, packed_rows, read_history
from ml.online_rows import OnlineRow, OnlineRows
from ml.point_in_time import became_known, known_at


@dataclass
class _Track:
    """One view's events: the instant at which each became known, in order, its packed row, and how many are pushed."""

    view: str
    known: list[datetime]
    rows: list[OnlineRow]
    pushed: int = field(default=0)


class EventTape:
    """Events that became known in (after, until], of all views that are served online; nothing is pushed yet.

    Raises LookupError if nothing of a view is published.
    """

    def __init__(self, views: Sequence[FeatureView], publications: Histories, after: datetime, until: datetime) -> None:
        """Read and pack them."""
        self._at = after
        self._tracks = [_track(view, publications, after, until) for view in views if view.online]

    def push(self, online: OnlineRows, until: datetime) -> int:
        """Apply what became known since the last call, up to `until`, in order; return how many events there were.

        Raises ValueError if `until` lies before the last call's: going back in time is a rebuild.
        """
        if until < self._at:
            raise ValueError(f"the tape stands at {self._at} and cannot go back to {until}; rebuild as of {until}")
        self._at, count = until, 0
        for track in self._tracks:
            end = bisect_right(track.known, until, track.pushed)
            if end > track.pushed:
                online.upsert(track.view, iter(track.rows[track.pushed : end]))
                count += end - track.pushed
                track.pushed = end
        return count


def _track(view: FeatureView, publications: Histories, after: datetime, until: datetime) -> _Track:
    events = became_known(read_history(view, publications), after, until)
    events = events.drop_nulls(list(view.join_keys))
    known = events.select(known_at()).to_series().to_list()
    return _Track(view.name, known, list(packed_rows(view, events)))
