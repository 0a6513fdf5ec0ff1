"""A raw table as it was known at an instant of the past: the versions known then, and known parts of later rows.

What a source declares decides (`known_at`, `known_earlier`); what is built from the rows is not known here.
"""

from datetime import datetime, timedelta

import polars as pl

from ml.history import CREATED, EVENT, INSTANT
from ml.lake import PARTITION_KEY
from ml.source import Source

# The instants of a row that is known in part stand so far behind the cut that no window of it reaches them.
NOT_YET = timedelta(days=366)

_KNOWN = "__known"
_PART = "__part{}"


class RawHistory:
    """All versions of the rows of a raw table, to be cut at any instant."""

    def __init__(self, source: Source, rows: pl.DataFrame) -> None:
        """Take the versions: [versions, columns of the source + both instants (+ partition_key)], in any order."""
        self._source = source
        self._columns = rows.columns
        original = pl.col(CREATED) == pl.col(EVENT)
        parts = [
            rows.select(pl.when(original).then(part.known_at(rows).cast(INSTANT)).alias(_PART.format(number)))
            for number, part in enumerate(source.known_earlier)
        ]
        known = pl.max_horizontal(EVENT, CREATED).alias(_KNOWN)
        self._rows = pl.concat([rows.with_columns(known), *parts], how="horizontal")

    def all(self) -> pl.DataFrame:
        """Return every version."""
        return self._rows.select(self._columns)

    def known(self, moment: datetime, since: datetime | None = None) -> pl.DataFrame:
        """Return what was known at `moment`, in the order of the table.

        A row of which only a part was known has null in its other columns, and instants `NOT_YET` after the moment.
        With `since`, rows of a partitioned table whose event lies before it are left out.
        """
        rows = self._rows
        if since is not None and self._source.partition is not None:
            rows = rows.filter(pl.col(EVENT) >= since)
        at = pl.lit(moment, dtype=INSTANT)
        parts = [pl.col(_PART.format(number)) <= at for number in range(len(self._source.known_earlier))]
        rows = rows.filter(pl.any_horizontal(pl.col(_KNOWN) <= at, *parts))
        return rows.select(self._masked(name, at, parts) for name in self._columns)

    def knowledge(self, after: datetime, until: datetime) -> list[datetime]:
        """Return the instants in (after, until] at which something became known, ascending."""
        times = [_KNOWN, *(_PART.format(number) for number in range(len(self._source.known_earlier)))]
        found = pl.concat([self._rows[name] for name in times]).drop_nulls().unique().sort()
        return found.filter((found > after) & (found <= until)).to_list()

    def new_at(self, moment: datetime) -> pl.DataFrame:
        """Return the versions of which the whole or a part became known exactly at `moment`."""
        times = [_KNOWN, *(_PART.format(number) for number in range(len(self._source.known_earlier)))]
        at = pl.lit(moment, dtype=INSTANT)
        return self._rows.filter(pl.any_horizontal(pl.col(name) == at for name in times)).select(self._columns)

    def _masked(self, name: str, at: pl.Expr, parts: list[pl.Expr]) -> pl.Expr:
        whole = pl.col(_KNOWN) <= at
        if not parts or name == PARTITION_KEY or name in self._source.key:
            return pl.col(name)
        if name in (EVENT, CREATED):
            return pl.when(whole).then(pl.col(name)).otherwise(at + NOT_YET).alias(name)
        telling = [known for known, part in zip(parts, self._source.known_earlier, strict=True) if name in part.columns]
        return pl.when(pl.any_horizontal(whole, *telling)).then(pl.col(name)).alias(name)
