"""The pointer to the published version of a feature table: moving it is what publishes, or rolls back.

Audited rows are copied from features/<name> to published/<name>; readers follow the newest row of the
publication log, so they see the old version whole or the new one whole, whatever happens in between.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ml.clock import Clock
from ml.lake import ORDER, Lake
from ml.point_in_time import in_order_of_knowledge

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

    def publish(
        self,
        name: str,
        staged: Mapping[str, int],
        actor: str,
        reason: str = "checks passed",
        columns: Sequence[str] = (),
        keys: Sequence[str] = (),
    ) -> Publication:
        """Copy audited partitions ({"2013-01": version}) of features/<name> and move the pointer to the result.

        Rows of a view are kept in order of its join `keys`, then of knowledge time: what a join reads fastest.
        One publisher of a table at a time; another waits. Raises ValueError, with nothing written, if one of
        `columns` was not written by an audited version.
        """
        table = f"published/{name}"
        self._require(name, staged, columns)
        with self._lake.lock(table):
            current = self.current(name)
            if current is not None and self._lake.version(table) != current.version:
                # An interrupted publish or a rollback: build on what is published, not on what was written last.
                self._lake.restore(table, current.version)
            frame = self._lake.read_pinned(f"features/{name}", staged).collect()
            if keys:
                frame = in_order_of_knowledge(frame, keys)
            version = self._lake.replace(table, frame, sorted(staged))
            merged = {**(current.staged if current else {}), **staged}
            return self._point(Publication(name, version, merged, actor, reason))

    def roll_back(self, name: str, version: int, actor: str, reason: str) -> Publication:
        """Point readers at an earlier published version.

        Raises LookupError naming the versions one can go back to if there was no such publication or
        retention has removed its rows.
        """
        with self._lake.lock(f"published/{name}"):
            offered = self.kept(name)
            if version in offered:
                return self._point(Publication(name, version, offered[version].staged, actor, reason))
        known = {p.version for p in self.log(name)}
        problem = "was removed by retention" if version in known else "was never published"
        raise LookupError(f"published/{name} version {version} {problem}; one can go back to: {sorted(offered)}")

    def kept(self, name: str) -> dict[int, Publication]:
        """Return the newest publication of each version whose rows are still there, oldest version first."""
        newest = {publication.version: publication for publication in self.log(name)}
        return {v: newest[v] for v in sorted(newest) if not self._lake.lost(f"published/{name}", v)}

    def current(self, name: str) -> Publication | None:
        """Return what is published now, None if nothing was."""
        log = self.log(name)
        return log[-1] if log else None

    def require(self, name: str) -> Publication:
        """Return what is published now. Raises LookupError with the remedy if nothing is."""
        current = self.current(name)
        if current is None:
            raise LookupError(f"nothing is published of {name!r}; materialize published/{name} first")
        return current

    def read(self, name: str) -> pl.LazyFrame:
        """Return the published rows of a table. Raises LookupError with the remedy if there are none."""
        return self._lake.read(f"published/{name}", self.require(name).version)

    def log(self, name: str) -> list[Publication]:
        """Return all publications of a table, oldest first."""
        if not self._lake.exists(TABLE):
            return []
        rows = self._lake.snapshot(TABLE).filter(pl.col("table") == name).sort(ORDER)
        return [
            Publication(r["table"], r["version"], json.loads(r["staged"]), r["actor"], r["reason"])
            for r in rows.iter_rows(named=True)
        ]

    def _require(self, name: str, staged: Mapping[str, int], columns: Sequence[str]) -> None:
        table = f"features/{name}"
        for commit in self._lake.history(table):
            missing = [c for c in columns if commit["columns"] and c not in commit["columns"]]
            if commit["version"] in staged.values() and missing:
                raise ValueError(
                    f"{table} version {commit['version']} has no column {missing[0]!r}, which must be published; "
                    f"correct dbt_project/models/features/{name}.sql and materialize {table} again; nothing published"
                )

    def _point(self, publication: Publication) -> Publication:
        row = {
            "table": publication.table,
            "version": publication.version,
            "staged": json.dumps(dict(publication.staged)),
            "actor": publication.actor,
            "reason": publication.reason,
            "at": self._clock.now(),
        }
        self._lake.append_in_order(TABLE, pl.DataFrame([row]).with_columns(pl.col("at").cast(pl.Datetime("us", "UTC"))))
        return publication
