"""The append-only record of feature views: how each version was defined when its rows were published.

Published rows and served models rest on it. What dbt declares now is `ml.view_definitions`; whether it may differ is
decided in checks/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import polars as pl

from ml.clock import Clock, audit_order
from ml.lake import Lake
from ml.view_definitions import Definition, parse_definition

TABLE = "audit/feature_views"

# declared: published first; changed: published with another definition; accepted: a person says that other SQL makes
# the same rows; retired: no longer declared.
Event = Literal["declared", "changed", "accepted", "retired"]

_SCHEMA: dict[str, Any] = {
    "view": pl.String,
    "version": pl.Int64,
    "name": pl.String,
    "event": pl.String,
    "definition": pl.String,
    "changes": pl.String,
    "actor": pl.String,
    "reason": pl.String,
    "at": pl.Datetime("us", "UTC"),
    "order": pl.Int64,
}


@dataclass(frozen=True)
class Entry:
    """One row of the record. `changes` says how the definition departs from the entry before, "" if it does not."""

    definition: Definition
    event: Event
    changes: str
    actor: str
    reason: str
    at: datetime


class ViewLog:
    """Appends to and reads the record in a lake."""

    def __init__(self, lake: Lake, clock: Clock) -> None:
        self._lake = lake
        self._clock = clock

    def record(self, definition: Definition, event: Event, actor: str, changes: str = "", reason: str = "") -> None:
        """Append one entry, at the clock's instant."""
        row = {
            "view": definition.view,
            "version": definition.version,
            "name": definition.name,
            "event": event,
            "definition": definition.to_json(),
            "changes": changes,
            "actor": actor,
            "reason": reason,
            "at": self._clock.now(),
            "order": audit_order(),
        }
        self._lake.append(TABLE, pl.DataFrame([row], schema=_SCHEMA))

    def entries(self) -> dict[str, list[Entry]]:
        """Return all entries by name of the view version (aircraft_state_v2), oldest first."""
        if not self._lake.exists(TABLE):
            return {}
        found: dict[str, list[Entry]] = {}
        for row in self._lake.read(TABLE).collect().sort("order").iter_rows(named=True):
            entry = Entry(
                parse_definition(row["definition"]),
                row["event"],
                *(row[name] for name in ("changes", "actor", "reason", "at")),
            )
            found.setdefault(row["name"], []).append(entry)
        return found

    def in_force(self) -> dict[str, list[Entry]]:
        """Return, of each version that is not retired, its entries since it was last declared, oldest first."""
        alive = {name: entries for name, entries in self.entries().items() if entries[-1].event != "retired"}
        return {name: entries[_last_declared(entries) :] for name, entries in alive.items()}


def same_rows(entries: Sequence[Entry]) -> set[str]:
    """Return the `rows` hashes that count as the newest entry's: its own, and those it was accepted to equal."""
    hashes = set()
    for entry in reversed(entries):
        hashes.add(entry.definition.rows)
        if entry.event != "accepted":
            break
    return hashes


def _last_declared(entries: Sequence[Entry]) -> int:
    return max(index for index, entry in enumerate(entries) if entry.event == "declared")
