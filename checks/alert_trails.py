"""The audit trails that alerts are made from, as they stand in the lake at one moment, and what is new in them.

Here: reading. The trails are written by `ml.verdicts`, `ml.loop_log` and `ml.overrides`; nothing else is looked at, so
whatever was recorded is told, however the process that recorded it ended.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import polars as pl

from checks.alert_news import READERS, News
from ml import loop_log, overrides, verdicts
from ml.lake import ORDER, Lake

TRAILS = (verdicts.TABLE, loop_log.TABLE, overrides.TABLE)


@dataclass(frozen=True)
class Trails:
    """The rows of each trail, by its table; a trail that nobody wrote yet is not there."""

    rows: Mapping[str, pl.DataFrame]

    @classmethod
    def read(cls, lake: Lake) -> Self:
        """Read all trails. Raises LookupError with the remedy if one is damaged."""
        return cls({table: _judged_last(table, lake.snapshot(table)) for table in TRAILS if lake.exists(table)})

    def heads(self) -> dict[str, int]:
        """Return the order of the newest row of each trail."""
        return {table: int(rows[ORDER].max()) for table, rows in self.rows.items() if rows.height}  # type: ignore[arg-type]

    def since(self, cursors: Mapping[str, int]) -> list[News]:
        """Return what the rows after `cursors` (the order of the last row that was read, by trail) mean, in order."""
        found = [
            (row[ORDER], news)
            for table, rows in self.rows.items()
            for row in rows.filter(pl.col(ORDER) > cursors.get(table, 0)).sort(ORDER).iter_rows(named=True)
            for news in READERS[table](row)
        ]
        return [news for _, news in sorted(found, key=lambda one: one[0])]


def _judged_last(table: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Leave out verdicts on windows of answers that came after one on a newer window: late labels tell of the past."""
    if table != verdicts.TABLE:
        return rows
    window = pl.col("partition").rank("dense")
    newest = window.cum_max().over("table", "check", order_by=ORDER)
    return rows.sort(ORDER).filter(~pl.col("table").str.ends_with("/performance") | (window >= newest))
