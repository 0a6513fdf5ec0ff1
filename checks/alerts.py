"""What a sink of alerts is due to tell, from what it has told and what the audit trails say since: no storms, no loss.

The same thing is told once; again only when it ended and began anew, or as a reminder; its end is told once. Here: pure
logic, of time only what it is given. Who sends it, and remembers that it was sent: `assets/alert_delivery.py`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from checks.alert_kinds import Alert, Key
from checks.alert_news import Began, Ended, Excused, News
from checks.alert_trails import Trails
from ml.alert_settings import SEVERITIES, Severity

Status = Literal["new", "reminder", "ended"]


@dataclass(frozen=True)
class Notice:
    """One thing to tell; `since` is when it began, `why` says why it ended, `told` when it was told last."""

    alert: Alert
    status: Status
    since: datetime
    why: str = ""
    told: datetime | None = None

    @property
    def id(self) -> str:
        """The same if it is sent twice, so that a receiver can know a doubled one; a reminder has one of its own."""
        told = f"|{self.told.isoformat()}" if self.status == "reminder" and self.told else ""
        return hashlib.sha256(f"{self.alert.key}|{self.alert.order}|{self.status}{told}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Open:
    """Something lasting that was told; not to be told again for now if a person knows of it, until `excused`."""

    alert: Alert
    since: datetime
    told: datetime
    excused: datetime | None = None


@dataclass(frozen=True)
class Hushed:
    """Something that was told and has no end, told again only when the quiet hours are over."""

    key: Key
    told: datetime


@dataclass(frozen=True)
class Memory:
    """What a sink has been told, up to which row of each trail."""

    cursors: Mapping[str, int] = field(default_factory=dict)
    open: tuple[Open, ...] = ()
    hushed: tuple[Hushed, ...] = ()


def due(
    memory: Memory | None, trails: Trails, now: datetime, quiet: timedelta, least: Severity
) -> tuple[list[Notice], Memory]:
    """Return what is to be told at `now` (by the platform's clock), the gravest first, and the memory once it is told.

    Without a memory the sink is new: it is told what is so now, and nothing of the past.
    """
    telling = _Telling(memory or Memory(), now, quiet, least)
    for news in trails.since(memory.cursors if memory else {}):
        telling.take(news)
    if memory is None:
        telling.forget_the_past()
    telling.remind()
    notices = sorted(telling.notices.values(), key=_rank)
    cursors = {**(memory.cursors if memory else {}), **trails.heads()}
    return notices, Memory(cursors, tuple(telling.open.values()), tuple(telling.hushed.values()))


class _Telling:
    """One look at the trails: the memory as it becomes, and the notices, one a key."""

    def __init__(self, memory: Memory, now: datetime, quiet: timedelta, least: Severity) -> None:
        self.now, self.quiet, self.least = now, quiet, least
        # Time that is replayed may be set back: what was told then counts as told now.
        self.open = {o.alert.key: replace(o, told=min(o.told, now)) for o in memory.open}
        hushed = [replace(h, told=min(h.told, now)) for h in memory.hushed]
        self.hushed = {h.key: h for h in hushed if now - h.told < quiet}
        self.notices: dict[Key, Notice] = {}

    def take(self, news: News) -> None:
        """Note one thing that happened."""
        if isinstance(news, Ended):
            self._end(news)
        elif isinstance(news, Excused):
            self._excuse(news)
        elif SEVERITIES.index(news.alert.severity) >= SEVERITIES.index(self.least):
            self._begin(news)

    def forget_the_past(self) -> None:
        """Keep of the notices only those of what is so now."""
        self.notices = {key: notice for key, notice in self.notices.items() if key in self.open}
        self.hushed = {}

    def remind(self) -> None:
        """Remind of what goes on since the quiet hours; what was told half of that ago comes along in one message."""
        ages = {key: self.now - o.told for key, o in self.open.items() if o.excused is None or o.excused <= self.now}
        if not any(age >= self.quiet for age in ages.values()):
            return
        for key in (key for key, age in ages.items() if age >= self.quiet / 2):
            known = self.open[key]
            self.open[key] = replace(known, told=self.now)
            self.notices.setdefault(key, Notice(known.alert, "reminder", known.since, told=known.told))

    def _begin(self, began: Began) -> None:
        alert = began.alert
        known = self.open.get(alert.key)
        if alert.lasting and known is not None and (known.excused is None or known.alert.version == alert.version):
            self.open[alert.key] = replace(known, alert=replace(alert, order=known.alert.order))  # as it is now
            if (notice := self.notices.get(alert.key)) is not None:
                self.notices[alert.key] = replace(notice, alert=self.open[alert.key].alert)
        elif alert.lasting:
            self.open[alert.key] = Open(alert, alert.at, self.now)
            self.notices[alert.key] = Notice(alert, "new", alert.at)
        elif alert.key not in self.hushed:
            self.hushed[alert.key] = Hushed(alert.key, self.now)
            self.notices[alert.key] = Notice(alert, "new", alert.at)

    def _end(self, ended: Ended) -> None:
        over = [k for k in self.open if k[:2] == (ended.kind, ended.asset) and ended.part in (None, k.part)]
        for known in [self.open.pop(key) for key in over]:
            self.notices[known.alert.key] = Notice(known.alert, "ended", known.since, ended.why)

    def _excuse(self, excused: Excused) -> None:
        key = Key("check_failed", excused.asset, excused.part)
        known = self.open.get(key)
        if known is not None and known.alert.version == excused.version:
            self.open[key] = replace(known, excused=excused.until)


def _rank(notice: Notice) -> tuple[bool, int, int]:
    return notice.status == "ended", -SEVERITIES.index(notice.alert.severity), notice.alert.order
