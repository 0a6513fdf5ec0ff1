"""The raw stage: one generic asset a declared source, and its blocking expectations. Knows no source by name."""

from collections.abc import Callable, Iterable

import dagster as dg

from assets.metadata import preview
from assets.mirror import record
from assets.partitions import MONTHS
from assets.resources import Platform
from checks.expectations import check_expectations
from checks.suite import suite_of_source
from ml.fingerprint import json_hash
from ml.lake import WHOLE
from ml.landing import land
from ml.source import Source

CHECK = "expectations"
GROUP = "raw"
TIMES = {
    "event_timestamp": ("timestamp", "Instant (UTC) at which the row became known."),
    "created_timestamp": ("timestamp", "Instant (UTC) at which this version of the row became known."),
}


def raw_assets(sources: Iterable[Source]) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Return an asset and a blocking check for every source."""
    return [definition for source in sources for definition in (_asset(source), _check(source))]


def _asset(source: Source) -> dg.AssetsDefinition:
    @dg.asset(
        key=["raw", source.name],
        partitions_def=MONTHS if source.partition is not None else None,
        group_name=GROUP,
        pool=f"raw_{source.name}",  # a table has one writer
        description=source.description,
        owners=[source.owner],
        kinds={"delta", "polars"},
        code_version=json_hash([{n: str(t) for n, (t, _) in source.columns.items()}, source.key])[:12],
        metadata={"dagster/column_schema": _column_schema(source), "dagster/table_name": source.table},
    )
    def landed(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        partition = context.partition_key if context.has_partition_key else WHOLE
        names = [partition] if partition else None
        (landing,) = land(source, platform.lake, platform.clock, names, passed(platform, source.table))
        context.log.info(
            f"{source.table} {partition}: {landing.rows} rows, {landing.added} new, version {landing.version}"
        )
        rows = platform.lake.read(source.table, landing.version, names)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(landing.content[:16]),
            metadata={
                "dagster/partition_row_count" if partition else "dagster/row_count": landing.rows,
                "rows added": landing.added,
                "rows gone from the source": landing.vanished,
                "table version": landing.version,
                "preview": dg.MetadataValue.md(preview(rows)),
            },
        )

    return landed


def _check(source: Source) -> dg.AssetChecksDefinition:
    partitioned = source.partition is not None
    suite = suite_of_source(source)

    @dg.asset_check(
        asset=["raw", source.name],
        name=CHECK,
        blocking=True,
        partitions_def=MONTHS if partitioned else None,
        description=f"Great Expectations suite of {source.table}: declared contract, then checks/expectations.",
    )
    def expectations(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.AssetCheckResult:
        partition = context.partition_key if partitioned else WHOLE
        version = platform.lake.partition_versions(source.table, [partition])[partition]
        rows = platform.lake.read(source.table, version, [partition] if partition else None).collect()
        outcome = check_expectations(suite, rows, partition)
        return record(
            platform,
            context.run.run_id,
            outcome,
            table=source.table,
            version=version,
            check=CHECK,
            partition=partition,
        )

    return expectations


def _column_schema(source: Source) -> dg.TableSchema:
    columns = {name: (str(dtype), text) for name, (dtype, text) in source.columns.items()} | TIMES
    return dg.TableSchema([dg.TableColumn(name, dtype, description=text) for name, (dtype, text) in columns.items()])


def passed(platform: Platform, table: str) -> Callable[[int, str], bool]:
    """A version is good to build on if its newest verdict is a pass: what the guard asks, too."""
    newest = platform.verdicts.newest_of(table)
    return lambda version, partition: newest.get((version, partition, CHECK), False)
