"""The pointer to the published version of a feature table: moving it is what publishes, or rolls back.

Audited rows are copied from features/<name> to published/<name>; readers follow the newest row of the
publication log, so they see the old version whole or the new one whole, whatever happens in between.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from ml.clock import Clock, audit_order
from ml.lake import Lake

TABLE = "audit/publications"


@dataclass(frozen=True)
class Publication:
    """A published version of a table, and the audited version each of its partitions came from."""

    table: str
    version: int
    staged: Mapping[str, int]
    actor: str
    reason: str


class Publications:
    """Publishes, rolls back and reads published tables."""

    def __init__(self, lake: Lake, clock: Clock) -> None:
        self._lake = lake
        self._clock = clock

    def publish(self, name: str, staged: Mapping[str, int], actor: str, reason: str = "checks passed") -> Publication:
        """Copy audited partitions ({"2013-01": version}) of features/<name> and move the pointer to the result."""
        table, current = f"published/{name}", self.current(name)
        if current is not None and self._lake.version(table) != current.version:
            # An interrupted publish or a rollback: build on what is published, not on what was written last.
            self._lake.open(table).restore(current.version)
        frame = self._lake.read_pinned(f"features/{name}", staged).collect()
        version = self._lake.replace(table, frame, sorted(staged))
        merged = {**(current.staged if current else {}), **staged}
        return self._point(Publication(name, version, merged, actor, reason))

    def roll_back(self, name: str, version: int, actor: str, reason: str) -> Publication:
        """Point readers at an earlier published version. Raises LookupError if there was no such publication."""
        for publication in reversed(self.log(name)):
            if publication.version == version:
                return self._point(Publication(name, version, publication.staged, actor, reason))
        known = sorted({p.version for p in self.log(name)})
        raise LookupError(f"published/{name} never had version {version}; published so far: {known}")

    def current(self, name: str) -> Publication | None:
        """Return what is published now, None if nothing was."""
        log = self.log(name)
        return log[-1] if log else None

    def read(self, name: str) -> pl.LazyFrame:
        """Return the published rows of a table. Raises LookupError with the remedy if there are none."""
        current = self.current(name)
        if current is None:
            raise LookupError(f"nothing is published of {name!r}; materialize published/{name} first")
        return self._lake.read(f"published/{name}", current.version)

    def log(self, name: str) -> list[Publication]:
        """Return all publications of a table, oldest first."""
        if not self._lake.exists(TABLE):
            return []
        rows = self._lake.read(TABLE).filter(pl.col("table") == name).collect().sort("order")
        return [
            Publication(r["table"], r["version"], json.loads(r["staged"]), r["actor"], r["reason"])
            for r in rows.iter_rows(named=True)
        ]

    def _point(self, publication: Publication) -> Publication:
        row = {
            "table": publication.table,
            "version": publication.version,
            "staged": json.dumps(dict(publication.staged)),
            "actor": publication.actor,
            "reason": publication.reason,
            "at": self._clock.now(),
            "order": audit_order(),
        }
        self._lake.append(TABLE, pl.DataFrame([row]).with_columns(pl.col("at").cast(pl.Datetime("us", "UTC"))))
        return publication
