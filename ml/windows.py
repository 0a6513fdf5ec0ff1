"""Windows of answers: so many days that are judged together, counted from Mondays (UTC), and when they are final."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)


@dataclass(frozen=True, order=True)
class Span:
    """The half-open interval [start, end) of a window of answers."""

    start: datetime
    end: datetime

    @property
    def name(self) -> str:
        """Its first day, by which verdicts and partitions are named."""
        return f"{self.start:%Y-%m-%d}"

    @property
    def days(self) -> timedelta:
        """How long it is."""
        return self.end - self.start

    def before(self, count: int) -> "Span":
        """Return the `count` windows before this one, as one."""
        return Span(self.start - count * self.days, self.start)

    def is_final(self, label_hours: float, now: datetime) -> bool:
        """Whether the labels of all its answers must have come."""
        return self.end + timedelta(hours=label_hours) <= now


def span_at(instant: datetime, days: int) -> Span:
    """Return the window of so many days that holds an instant (UTC)."""
    length = timedelta(days=days)
    start = _MONDAY + (instant - _MONDAY) // length * length
    return Span(start, start + length)


def newest_final(days: int, label_hours: float, now: datetime) -> Span:
    """Return the newest window whose labels must all have come."""
    return span_at(now - timedelta(hours=label_hours), days).before(1)


def spans_between(first: datetime, last: datetime, days: int) -> list[Span]:
    """Return the windows from the one that holds `first` to the one that holds `last`, in order."""
    found = [span_at(first, days)]
    while found[-1].end <= last:
        found.append(Span(found[-1].end, found[-1].end + found[-1].days))
    return found
