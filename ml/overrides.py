"""Overrides of failed checks, append-only, in the lake: who let a failed version pass, why, and until when.

An override holds for one check on one version of one partition, so data that is written again is judged anew. It
ends by itself. Whether overrides are allowed is a setting; whether one opens a gate is asked by `checks/guard.py`.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from ml.clock import Clock
from ml.lake import ORDER, WHOLE, Lake

TABLE = "audit/overrides"
LONGEST = timedelta(days=30)

_SCHEMA: dict[str, Any] = {
    "table": pl.String,
    "version": pl.Int64,
    "check": pl.String,
    "who": pl.String,
    "why": pl.String,
    "until": pl.Datetime("us", "UTC"),
    "partition": pl.String,
    "at": pl.Datetime("us", "UTC"),
    ORDER: pl.Int64,
}


@dataclass(frozen=True)
class Override:
    """One person's word that a failed check shall not stop a version until an instant (UTC)."""

    table: str
    version: int
    check: str
    who: str
    why: str
    until: datetime
    partition: str = WHOLE

    def __str__(self) -> str:
        return f"{self.check} overridden by {self.who} until {self.until:%Y-%m-%d %H:%M} UTC: {self.why}"


class Overrides:
    """Grants, ends and reads overrides. `allowed` is the setting: without it none is granted and none counts."""

    def __init__(self, lake: Lake, clock: Clock, allowed: bool) -> None:
        self._lake = lake
        self._clock = clock
        self.allowed = allowed

    def grant(self, overrides: Iterable[Override]) -> None:
        """Append overrides in one transaction.

        Raises PermissionError if the setting does not allow them, ValueError if one names nobody, has no reason or
        does not end within 30 days from now.
        """
        if not self.allowed:
            raise PermissionError(
                "overrides are not allowed here; set HEADWATER_ALLOW_OVERRIDES=true where gates are asked too "
                "(runs, servers), or correct the data"
            )
        granted, now = list(overrides), self._clock.now()
        for override in granted:
            if not override.who.strip() or not override.why.strip():
                raise ValueError("an override needs who grants it and why; neither may be empty")
            if not now < override.until <= now + LONGEST:
                raise ValueError(
                    f"an override ends within {LONGEST.days} days from now ({now:%Y-%m-%d %H:%M} UTC by the platform's "
                    f"clock), not at {override.until:%Y-%m-%d %H:%M} UTC; grant it again when it has ended"
                )
        self._append(granted)

    def end(self, table: str, version: int, partition: str = WHOLE) -> list[Override]:
        """End the active overrides on a version now and return them."""
        active = [o for o in self.active(table) if (o.version, o.partition) == (version, partition)]
        self._append(Override(**asdict(o) | {"until": self._clock.now()}) for o in active)
        return active

    def active(self, table: str) -> list[Override]:
        """Return the overrides on a table that count now, none if the setting does not allow them."""
        if not self.allowed:
            return []
        newest = {(o.version, o.partition, o.check): o for o in self.log() if o.table == table}
        return [override for override in newest.values() if self._clock.now() < override.until]

    def log(self) -> list[Override]:
        """Return all overrides ever granted or ended, oldest first."""
        if not self._lake.exists(TABLE):
            return []
        rows = self._lake.snapshot(TABLE).sort(ORDER).drop("at", ORDER)
        return [Override(**row) for row in rows.iter_rows(named=True)]

    def _append(self, overrides: Iterable[Override]) -> None:
        rows = [asdict(o) | {"at": self._clock.now(), ORDER: 0} for o in overrides]
        if rows:
            self._lake.append_in_order(TABLE, pl.DataFrame(rows, schema=_SCHEMA))
