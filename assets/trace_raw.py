"""Raw rows behind an answer as a trace tells them, and the raw tables that they are of: versions, checks, source.

Which rows they are is found in `checks.raw_behind`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import polars as pl

from assets.resources import Platform
from checks.audit_trail import audit_step
from checks.feature_row import FeatureRow
from checks.raw_behind import RawBehind
from ml.history import CREATED, EVENT
from ml.source import Source
from ml.trace import Step, attempt

MOST_ROWS = 1_000  # of a view that a trace holds; more are counted


def raw_records(source: Source, rows: pl.DataFrame, used: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield raw rows; of each the columns `used` by the features first. One that is known in part has no instant."""
    names = dict.fromkeys([*used, *rows.columns])
    for row in rows.head(MOST_ROWS).iter_rows(named=True):
        known = None if row[EVENT] is None else max(row[EVENT], row[CREATED])
        whole = {name: row[name] for name in names if row[name] is not None}
        yield {"table": source.table, "key": {key: row[key] for key in source.key}, "known at": known, "row": whole}


def evidence(behind: RawBehind) -> dict[str, Any]:
    """Return what was shown of the rows, and how many are listed if not all."""
    listed = {"listed": f"the newest {MOST_ROWS:,} of {behind.count:,}"} if behind.count > MOST_ROWS else {}
    if not behind.again:
        return listed
    which = f"of the same {', '.join(behind.entity)}" if behind.entity else "of all keys"
    span = "as far back as rows are read" if behind.span is None else _span(behind.span)
    return {"made again": f"from these rows alone come the same values, bit for bit ({which}, {span})", **listed}


def _span(span: timedelta) -> str:
    hours = span // timedelta(hours=1)
    if not hours:
        return "from that event on"
    told = f"{hours // 24} days" if hours >= 72 else f"{hours} hours"
    return f"from {told} before that event on"


def unproven(behind: RawBehind, found: FeatureRow) -> tuple[str, ...]:
    """Say that the values are not what the rows make, if so."""
    if behind.again:
        return ()
    return (
        f"the values of {found.view.name} are not what its SQL makes of the raw rows that were known then: "
        "what was read then is not on record any more, or it was corrected since",
    )


def source_step(platform: Platform, sources: Sequence[Source], table: str, version: int, partitions: set[str]) -> Step:
    """Return a raw table as it was read: the version of each partition, its checks, and the file it came from."""
    declared = {source.table: source for source in sources}
    versions = platform.lake.partition_versions(table, sorted(partitions), as_of=version)
    commits = {commit["version"]: commit for commit in platform.lake.history(table)}
    rows = tuple(
        {
            "partition": name or "whole",
            "version": at,
            "landed": pl.from_epoch(pl.Series([commits[at]["timestamp"]]), "ms")[0],
            "rows": commits[at]["metadata"].get("rows"),
            "hash": commits[at]["metadata"].get("content"),
        }
        for name, at in versions.items()
    )
    checks = attempt(
        "checks", "checks", lambda: audit_step(platform.guard, [(table, name, at) for name, at in versions.items()])
    )
    gone = () if table in declared else (f"no source lands in {table} any more",)
    facts = {"read from": declared[table].reader.origin if table in declared else "unknown"}
    return Step("source", f"{table} version {version}", facts, rows, gone, (checks,))


def raw_columns(platform: Platform, versions: Mapping[str, int]) -> dict[str, list[str]]:
    """Return the columns of raw tables at versions; Delta's log has them though rows are gone."""
    return {t: [f.name for f in platform.lake.open(t, v).schema().fields] for t, v in versions.items()}
