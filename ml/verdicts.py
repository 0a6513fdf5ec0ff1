"""The audit table of check verdicts, append-only, in the lake: what gates ask, from any process.

A verdict belongs to one version of one partition of one table. Whether a reader may go on is
decided by `checks/guard.py`; Dagster's check evaluations mirror these rows.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import polars as pl

from ml.clock import Clock
from ml.lake import ORDER, WHOLE, Lake

TABLE = "audit/verdicts"
SUMMARY = pl.col("evidence").str.json_path_match("$.summary").alias("summary")  # of each row, in a sentence

_SCHEMA: dict[str, Any] = {
    "table": pl.String,
    "version": pl.Int64,
    "partition": pl.String,
    "check": pl.String,
    "passed": pl.Boolean,
    "blocking": pl.Boolean,
    "evidence": pl.String,
    "run_id": pl.String,
    "actor": pl.String,
    "at": pl.Datetime("us", "UTC"),
    ORDER: pl.Int64,
}


@dataclass(frozen=True)
class Verdict:
    """One check's answer on one version of one partition (`WHOLE` if unpartitioned)."""

    table: str
    version: int
    check: str
    passed: bool
    partition: str = WHOLE
    blocking: bool = True
    evidence: Mapping[str, Any] = field(default_factory=dict)
    run_id: str = ""
    actor: str = ""


class Verdicts:
    """Reads and appends verdicts."""

    def __init__(self, lake: Lake, clock: Clock) -> None:
        self._lake = lake
        self._clock = clock

    def record(self, verdicts: Iterable[Verdict]) -> None:
        """Append verdicts in one transaction."""
        rows = [
            asdict(v) | {"evidence": json.dumps(dict(v.evidence), default=str), "at": self._clock.now(), ORDER: 0}
            for v in verdicts
        ]
        if rows:
            self._lake.append_in_order(TABLE, pl.DataFrame(rows, schema=_SCHEMA))

    def newest(self, table: str, version: int, partition: str, check: str) -> Verdict | None:
        """Return the newest verdict on exactly this version and partition, None if the check never ended."""
        rows = self.rows(table).filter(version=version, partition=partition, check=check).tail(1)
        return None if rows.is_empty() else verdict_of(rows.row(0, named=True))

    def newest_verdicts(self, table: str) -> list[tuple[Verdict, datetime]]:
        """Return the newest verdict of each (version, partition, check) on a table with its instant, oldest first."""
        rows = self.rows(table).unique(["version", "partition", "check"], keep="last", maintain_order=True)
        return [(verdict_of(row), row["at"]) for row in rows.iter_rows(named=True)]

    def tables(self) -> list[str]:
        """Return the tables that have verdicts, sorted."""
        if not self._lake.exists(TABLE):
            return []
        return self._lake.snapshot(TABLE)["table"].unique().sort().to_list()

    def newest_of(self, table: str) -> dict[tuple[int, str, str], bool]:
        """Return whether the newest verdict of each (version, partition, check) on a table is a pass."""
        rows = self.rows(table).select("version", "partition", "check", "passed")
        return {(version, partition, check): passed for version, partition, check, passed in rows.iter_rows()}

    def rows(self, table: str) -> pl.DataFrame:
        """Return all verdicts on a table, oldest first, one row a verdict."""
        if not self._lake.exists(TABLE):
            return pl.DataFrame(schema=_SCHEMA)
        return self._lake.snapshot(TABLE).filter(pl.col("table") == table).sort(ORDER)


def verdict_of(row: Mapping[str, Any]) -> Verdict:
    """Return the verdict that a row of `rows` holds."""
    fields = {name: value for name, value in row.items() if name not in ("at", ORDER, "evidence")}
    return Verdict(**fields, evidence=json.loads(row["evidence"]))
