"""`make quarantine`: the batches that failed their checks, why, and their failing rows; and the asset that lists them.

What is held is told by the verdicts (`checks/quarantine.py`). The asset is brought up to date by the gates themselves,
whenever a batch fails or one is released, so that the UI needs nobody to ask for it.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import dagster as dg

from assets.command import REFUSALS, in_one_line
from assets.metadata import markdown_table
from assets.resources import Platform, platform_for
from checks.quarantine import HeldBatch, batches
from ml import remedies
from ml.lake import WHOLE
from ml.settings import Settings

KEY = dg.AssetKey(["audit", "quarantine"])
COUNT = "batches held"
SHOWN_ROWS = 20
LONGEST_REASON = 300


def held(platform: Platform) -> list[HeldBatch]:
    """Return the batches that keep readers out now, newest first."""
    return [batch for batch in all_batches(platform) if batch.held]


def all_batches(platform: Platform) -> list[HeldBatch]:
    """Return every batch that ever failed a blocking check, held ones first."""
    return batches(platform.lake, platform.guard)


def quarantine_asset() -> dg.AssetsDefinition:
    """Return the asset that lists held batches and active overrides."""

    @dg.asset(
        key=KEY,
        kinds={"delta"},
        owners=["team:platform"],
        code_version="1",
        description=(
            "Batches that failed a blocking check and are held until they are corrected, with the reason; overrides "
            "in force; batches released since. Kept up to date by the gates."
        ),
    )
    def quarantine(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata=_metadata(platform))

    return quarantine


def refresh(instance: dg.DagsterInstance, platform: Platform, failed: bool) -> None:
    """Bring the asset up to date after a judgement, if a batch failed or one may have been released."""
    if failed or _last_count(instance):
        instance.report_runless_asset_event(dg.AssetMaterialization(KEY, metadata=_metadata(platform)))


def _last_count(instance: dg.DagsterInstance) -> int:
    event = instance.get_latest_materialization_event(KEY)
    found = event.asset_materialization.metadata.get(COUNT) if event and event.asset_materialization else None
    return int(str(found.value)) if found is not None else 0


def _metadata(platform: Platform) -> dict[str, Any]:
    found = all_batches(platform)
    now = [batch for batch in found if batch.held]
    before = [batch for batch in found if not batch.held]
    granted = [o for table in sorted({b.table for b in found}) for o in platform.overrides.active(table)]
    entries: dict[str, Any] = {COUNT: len(now), "overrides in force": len(granted)}
    for title, listed in (("held", now), ("released or replaced", before)):
        if listed:
            entries[title] = dg.MetadataValue.md(markdown_table(tuple(map(_row, listed))))
    if granted:
        entries["overrides"] = dg.MetadataValue.md("\n".join(f"- {o.table} version {o.version}: {o}" for o in granted))
    return entries


def _row(batch: HeldBatch) -> dict[str, Any]:
    return {
        "batch": batch.name,
        "version": batch.version,
        "since": f"{batch.since:%Y-%m-%d %H:%M} UTC",
        "state": batch.state,
        "run": batch.verdicts[0].run_id,
        "reason": batch.reason[:LONGEST_REASON],
    }


def listing(platform: Platform, wanted: Sequence[HeldBatch], with_rows: bool) -> str:
    """Return what `make quarantine` prints: a paragraph a batch, with its failing rows if asked for."""
    if not wanted:
        return "Nothing is in quarantine."
    return "\n\n".join(_paragraph(platform, batch, with_rows) for batch in wanted)


def _paragraph(platform: Platform, batch: HeldBatch, with_rows: bool) -> str:
    lines = [f"{batch.name} version {batch.version}: {batch.state}, since {batch.since:%Y-%m-%d %H:%M} UTC"]
    lines += [f"  {v.check} (run {v.run_id}): {v.evidence.get('summary', '')}" for v in batch.verdicts]
    rows = platform.quarantine.rows(batch.table, batch.version, batch.partition)
    if with_rows and rows.height:
        lines.append(f"  {rows.height} failing rows were kept; the first {min(rows.height, SHOWN_ROWS)}:")
        lines.append(str(rows.head(SHOWN_ROWS)))
    elif rows.height:
        where = f"TABLE={batch.table}" + (f" MONTH={batch.partition}" if batch.partition else "")
        lines.append(f"  {rows.height} failing rows were kept: " + remedies.here(f"make quarantine {where}"))
    if batch.held:
        lines.append(f"  released by: correcting the source and materializing {batch.name} again")
    return "\n".join(lines)


def require_batches(platform: Platform, table: str, month: str | None) -> None:
    """Raise LookupError with what there is if the lake has no such table, or the table no such month."""
    tables = platform.lake.tables()
    if table not in tables:
        raise LookupError(f"no table {table!r} in {platform.settings.lake}; there are {', '.join(tables) or 'none'}")
    has = sorted(platform.lake.partition_versions(table))
    if month is None or month in has:
        return
    if has == [WHOLE]:
        raise LookupError(f"{table} lands whole, in one partition; leave MONTH out")
    raise LookupError(f"{table} has no month {month}; it has {', '.join(has)}")


@in_one_line(*REFUSALS)
def main() -> int:
    """Print what is held, or one table's batches with their failing rows. Returns 1 after one line on failure."""
    import polars as pl

    parser = argparse.ArgumentParser(
        prog="python -m assets.quarantine", description="List the batches that failed their checks, and why."
    )
    parser.add_argument("table", nargs="?", help="a table such as raw/flights: its batches with their failing rows")
    parser.add_argument("--partition", default=None, help="one month of it, such as 2013-03")
    parser.add_argument("--all", action="store_true", help="also those released or replaced since")
    arguments = parser.parse_args()
    platform = platform_for(Settings())
    if arguments.table is not None:
        require_batches(platform, arguments.table, arguments.partition)
    found = [b for b in all_batches(platform) if arguments.all or arguments.table or b.held]
    found = [b for b in found if arguments.table in (None, b.table)]
    found = [b for b in found if arguments.partition in (None, b.partition or WHOLE)]
    with pl.Config(tbl_cols=-1, tbl_rows=SHOWN_ROWS, tbl_width_chars=240, fmt_str_lengths=60):
        print(listing(platform, found, with_rows=arguments.table is not None))
    return 0


if __name__ == "__main__":
    sys.exit(main())
