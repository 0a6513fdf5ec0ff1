"""The raw stage: one generic asset a declared source, and its blocking expectations. Knows no source by name."""

from collections.abc import Iterable
from datetime import timedelta

import dagster as dg
import polars as pl

from assets.expectations import expectations_gate
from assets.gates import Batch, Gate, gate_checks, own_gates
from assets.history import history_gate
from assets.metadata import preview, type_name, whole_table
from assets.partitions import partitions_of
from assets.resources import Platform
from checks.freshness import ARRIVAL, check_arrival
from checks.history import Table
from checks.outcome import Outcome
from checks.suite import suite_of_source
from ml.column_texts import TIMES
from ml.fingerprint import json_hash
from ml.lake import WHOLE
from ml.landing import land
from ml.months import Months, end_of
from ml.source import Source


def raw_assets(sources: Iterable[Source]) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Return an asset and its gates for every source."""
    return [definition for source in sources for definition in (_asset(source), raw_gates(source))]


def raw_gates(source: Source) -> dg.AssetChecksDefinition:
    """Return the checks of a landed partition."""
    table = Table(source.table, source.key, source.schema)
    gates = [
        expectations_gate(suite_of_source(source)),
        history_gate(table, restated=True, blocks_from=source.history_months),
        *own_gates(source.table),
    ]
    gates += [_freshness(source.fresh_within)] if source.fresh_within else []
    return gate_checks(source.table, gates, months=_months(source))


def _months(source: Source) -> Months | None:
    return source.months if source.partition is not None else None


def _asset(source: Source) -> dg.AssetsDefinition:
    months = _months(source)

    @dg.asset(
        key=["raw", source.name],
        partitions_def=partitions_of(months) if months else None,
        pool=f"raw_{source.name}",  # a table has one writer
        description=source.description,
        owners=[source.owner],
        kinds={"delta", "polars"},
        code_version=json_hash([{n: str(t) for n, (t, _) in source.columns.items()}, source.key])[:12],
        metadata={"dagster/column_schema": _column_schema(source), "dagster/table_name": source.table},
    )
    def landed(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        # A run of a month may take along a table that has none.
        partition = context.partition_key if source.partition is not None and context.has_partition_key else WHOLE
        names = [partition] if partition else None
        (landing,) = land(source, platform.lake, platform.clock, names, platform.guard.passed(source.table))
        context.log.info(
            f"{source.table} {partition}: {landing.rows} rows, {landing.added} new, version {landing.version}"
        )
        rows = platform.lake.read(source.table, landing.version, names)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(landing.content[:16]),
            metadata={
                "dagster/row_count": whole_table(platform.lake.read(source.table, landing.version)),
                **({"dagster/partition_row_count": landing.rows} if partition else {}),
                "rows added": landing.added,
                "rows gone from the source": landing.vanished,
                "table version": str(landing.version),
                "preview": dg.MetadataValue.md(preview(rows)),
            },
        )

    return landed


def _freshness(within: timedelta) -> Gate:
    def judge(batch: Batch) -> Outcome:
        newest = batch.rows.select(pl.col("event_timestamp").max()).item()
        return check_arrival(newest, end_of(batch.partition), within, batch.platform.clock.now())

    told = f"The newest row of the month, by the platform's clock, is no older than {within} when the month ends."
    return Gate(ARRIVAL, told, judge, blocking=False)


def _column_schema(source: Source) -> dg.TableSchema:
    columns = {name: (type_name(dtype), text) for name, (dtype, text) in source.columns.items()} | {
        name: ("timestamp (UTC)", text) for name, text in TIMES.items()
    }
    return dg.TableSchema([dg.TableColumn(name, dtype, description=text) for name, (dtype, text) in columns.items()])
