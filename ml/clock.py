"""The one source of "now", real or replayed. Nothing else in the repository asks the machine for the time.

Standard library only: the router inside Triton imports it in the serving environment.
"""

import json
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Anything that tells the current instant."""

    def now(self) -> datetime:
        """Return the current instant, timezone-aware, in UTC."""
        ...


class RealClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's current instant in UTC."""
        return datetime.now(UTC)


class ReplayClock:
    """A clock that stands at the instant kept in a file, until someone moves it.

    All processes that share the file (assets, router, notebooks) live at the same replayed instant.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, datetime] | None = None

    def now(self) -> datetime:
        """Return the replayed instant in UTC. Raises LookupError if the file is missing or damaged."""
        try:
            stamp = self._path.stat().st_mtime_ns
            if self._seen is None or self._seen[0] != stamp:
                text = json.loads(self._path.read_text())["now"]
                self._seen = (stamp, _utc(datetime.fromisoformat(text)))
        except (OSError, ValueError, KeyError) as error:
            raise LookupError(
                f"replay clock {self._path} cannot be read ({error}); delete the file to use real time"
            ) from error
        return self._seen[1]

    def set(self, instant: datetime) -> None:
        """Move the clock to `instant` (timezone-aware) in one atomic step, forwards or backwards."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".clock-")
        with os.fdopen(handle, "w") as file:
            json.dump({"now": _utc(instant).isoformat()}, file)
        os.replace(temporary, self._path)


def open_clock(path: Path) -> Clock:
    """Return the replayed clock if `path` exists, the real one otherwise."""
    return ReplayClock(path) if path.exists() else RealClock()


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError(f"{instant} has no time zone; give an instant such as 2013-10-01T00:00:00+00:00")
    return instant.astimezone(UTC)


def audit_order() -> int:
    """Return a stamp that only grows (nanoseconds), to order audit rows written at one replayed instant.

    It is never the time of a fact.
    """
    return time.time_ns()
