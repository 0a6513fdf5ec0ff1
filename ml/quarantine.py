"""The failing rows of batches that did not pass, append-only, in the lake: kept with the rule that each broke.

The batch itself is a version of its table and stays there; whether it is still held is told by its verdicts
(`checks/quarantine.py`). Here are only the rows that a check could name.
"""

import json
from typing import Any

import polars as pl

from ml.clock import Clock
from ml.lake import ORDER, Lake

TABLE = "audit/quarantine"
RULE = "rule"
MOST_ROWS = 1_000  # of one check on one batch

_SCHEMA: dict[str, Any] = {
    "table": pl.String,
    "version": pl.Int64,
    "partition": pl.String,
    "check": pl.String,
    RULE: pl.String,
    "row": pl.String,
    "run_id": pl.String,
    "at": pl.Datetime("us", "UTC"),
    ORDER: pl.Int64,
}


class Quarantine:
    """Keeps and reads failing rows."""

    def __init__(self, lake: Lake, clock: Clock) -> None:
        self._lake = lake
        self._clock = clock

    def keep(self, table: str, version: int, partition: str, check: str, failing: pl.DataFrame, run_id: str) -> None:
        """Append the rows [failing rows, `rule` + the table's columns] that a check named on a version, up to 1,000."""
        now = self._clock.now()
        rows = [
            {
                "table": table,
                "version": version,
                "partition": partition,
                "check": check,
                RULE: str(row.pop(RULE, "")),
                "row": json.dumps(row, default=str),
                "run_id": run_id,
                "at": now,
                ORDER: 0,
            }
            for row in failing.head(MOST_ROWS).iter_rows(named=True)
        ]
        if rows:
            self._lake.append_in_order(TABLE, pl.DataFrame(rows, schema=_SCHEMA))

    def rows(self, table: str, version: int, partition: str) -> pl.DataFrame:
        """Return [rows, check + rule + the table's columns] of the newest judgement of each check on a version."""
        if not self._lake.exists(TABLE):
            return pl.DataFrame()
        wanted = (pl.col("table") == table) & (pl.col("version") == version) & (pl.col("partition") == partition)
        kept = self._lake.read(TABLE).filter(wanted).collect().sort(ORDER)
        kept = kept.filter(pl.col("at") == pl.col("at").max().over("check"))
        kept = kept.filter(pl.col("run_id") == pl.col("run_id").last().over("check"))
        rows = [json.loads(row) for row in kept["row"]]
        named = kept.select("check", RULE)
        return named.hstack(pl.DataFrame(rows, infer_schema_length=None)) if rows else named
