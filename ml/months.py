"""Months, as partitions are named ("2013-01"), and the span of them that a source has. No clock, no Dagster."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_FORM = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True)
class Months:
    """The months from `first` to `last`, both included; without `last` every month that is over, as time goes on.

    `without` are months in between that have no rows and never will. Raises ValueError that names what is wrong.
    """

    first: str
    last: str | None = None
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for month in (self.first, *([self.last] if self.last is not None else []), *self.without):
            if not isinstance(month, str) or not _FORM.fullmatch(month):
                raise ValueError(f"{month!r} is no month; write it like 2013-01")
        if self.last is not None and self.last < self.first:
            raise ValueError(f"months {self.first} to {self.last} end before they begin")
        strangers = [month for month in self.without if not self.spans(month) or month in (self.first, self.last)]
        if strangers:
            raise ValueError(f"months without rows {strangers} are not between {self.first} and {self.last or 'now'}")

    def spans(self, month: str) -> bool:
        """Return whether `month` is not before the first and not after the last."""
        return self.first <= month and (self.last is None or month <= self.last)

    def has(self, month: str) -> bool:
        """Return whether `month` is one of them, if it is over."""
        return self.spans(month) and month not in self.without

    def over_by(self, now: datetime) -> list[str]:
        """Return those that are over at an instant, in order."""
        return [month for month in between(self.first, self.last or month_of(now)) if self.has_ended(month, now)]

    def has_ended(self, month: str, now: datetime) -> bool:
        """Return whether `month` is one of them, and over at an instant."""
        return self.has(month) and end_of(month) <= now

    def with_look_back(self, months: Sequence[str], look_back: int) -> list[str]:
        """Return all of them from `look_back` months before the first of `months` to the last of `months`."""
        first = month_before(min(months), look_back)
        return [month for month in between(max(first, self.first), max(months)) if self.has(month)]

    @property
    def names(self) -> list[str]:
        """Return all of them, in order. Raises ValueError if there is no last one."""
        if self.last is None:
            raise ValueError(f"the months from {self.first} on have no last one")
        return [month for month in between(self.first, self.last) if self.has(month)]

    @property
    def ends_before(self) -> str | None:
        """The month after the last, None if there is no last."""
        return None if self.last is None else month_before(self.last, -1)

    def __str__(self) -> str:
        return f"{self.first} to {self.last}" if self.last else f"{self.first} on"


def union_of(spans: Iterable[Months]) -> Months:
    """Return the months that at least one of `spans` has. Raises ValueError if there is no span."""
    found = list(spans)
    if not found:
        raise ValueError("no months given")
    first, lasts = min(span.first for span in found), [span.last for span in found]
    last = None if None in lasts else max(last for last in lasts if last is not None)
    gaps = sorted({month for span in found for month in span.without})
    empty = (month for month in gaps if not any(span.has(month) for span in found))
    return Months(first, last, tuple(month for month in empty if month > first and (last is None or month < last)))


def between(first: str, last: str) -> list[str]:
    """Return the months from `first` to `last`, both included; none if `last` is before `first`."""
    months = []
    while first <= last:
        months.append(first)
        first = month_before(first, -1)
    return months


def month_of(moment: datetime) -> str:
    """Return the month of an instant, as partitions are named."""
    return f"{moment:%Y-%m}"


def month_before(month: str, count: int) -> str:
    """Return the month `count` months before "2013-01"."""
    year, number = map(int, month.split("-"))
    index = year * 12 + number - 1 - count
    return f"{index // 12:04d}-{index % 12 + 1:02d}"


def start_of(month: str) -> datetime:
    """Return the first instant (UTC) of a month."""
    return datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)


def end_of(month: str) -> datetime:
    """Return the instant (UTC) at which a month is over."""
    return start_of(month_before(month, -1))
