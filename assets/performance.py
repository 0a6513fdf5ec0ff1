"""How good the answers were: <model>/performance, a window a partition, with intervals, and its pictures.

The numbers are made in checks/monitoring_metrics.py; what is asked of a window, in assets/performance_checks.py.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import dagster as dg
import polars as pl

from assets.metadata import column_schema, markdown_table, shown
from assets.monitoring_rows import (
    months_of,
    outcome_rows,
    outcomes_table,
    performance_table,
    promotions,
    spans,
    with_ages,
)
from assets.resources import Platform
from checks.monitoring_metrics import ALL, measured, quality_metrics
from checks.monitoring_window import LEARNED_FROM
from ml.fingerprint import content_hash, json_hash
from ml.lake import PARTITION_KEY
from ml.spec import ModelSpec
from ml.windows import Span

_SHOWN = 30  # windows in the table of the UI


def performance_asset(spec: ModelSpec) -> dg.AssetsDefinition:
    """Return the metrics of a spec's answers by window."""
    table, days = performance_table(spec), spec.monitoring.window_days

    @dg.asset(
        key=[spec.name, "performance"],
        deps=[dg.AssetDep([spec.name, "outcomes"])],
        kinds={"delta"},
        owners=[spec.owner],
        code_version="1",
        description=(
            f"Score, loss, calibration and serving of {spec.name} by windows of {days} days, version and slice, with "
            "95% intervals. A window is final once the labels of all its answers must have come."
        ),
    )
    def performance(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        written = bring_performance(platform, spec)
        context.log.info(f"{table}: written {', '.join(written) or 'nothing, no window changed'}")
        metadata: dict[str, Any] = {"dagster/table_name": table, "windows written": ", ".join(written) or "none"}
        if platform.lake.exists(table):
            rows = platform.lake.read(table).collect()
            metadata |= {
                "dagster/row_count": rows.height,
                "dagster/column_schema": column_schema(rows.schema),
                **_pictures(platform, spec, rows),
            }
        return dg.MaterializeResult(metadata=metadata)

    return performance


def bring_performance(platform: Platform, spec: ModelSpec) -> list[str]:
    """Write the windows of <model>/performance whose answers or settings are others than before, and return these."""
    table, lake = performance_table(spec), platform.lake
    written = []
    with lake.lock(table):
        commits = {c["version"]: c["metadata"] for c in lake.history(table)} if lake.exists(table) else {}
        made = lake.partition_versions(table) if commits else {}
        months = lake.partition_versions(outcomes_table(spec)) if lake.exists(outcomes_table(spec)) else {}
        for span in spans(platform, spec):
            before = commits.get(made.get(span.name, -1), {})
            read = Span(span.before(LEARNED_FROM).start, span.end)
            pins = {"outcomes": {month: months[month] for month in months_of(read) if month in months}}
            facts = _facts(spec, span, platform.clock.now())
            if _same(before, pins | facts):
                continue
            facts["content"] = content_hash(outcome_rows(platform, spec, read).drop(PARTITION_KEY))
            rows = outcome_rows(platform, spec, span)
            if _same(before, facts) or rows.is_empty():
                continue
            lake.replace(table, _frame(platform, spec, span, rows, facts["final"]), [span.name], pins | facts)
            written.append(span.name)
    return written


def _facts(spec: ModelSpec, span: Span, now: datetime) -> dict[str, Any]:
    """Return what a window's numbers and verdicts rest on beside its answers and those before it."""
    settings = [spec.monitoring.model_dump(), spec.slices, spec.serving.slo.p99_ms]
    return {"final": span.is_final(spec.outcome.label_hours, now), "settings": json_hash(settings)}


def _same(before: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    return all(before.get(name) == value for name, value in facts.items())


def _frame(platform: Platform, spec: ModelSpec, span: Span, rows: pl.DataFrame, final: bool) -> pl.DataFrame:
    found = measured(spec, with_ages(platform, spec, span, rows))
    instant = pl.Datetime("us", "UTC")
    return found.select(
        pl.lit(span.start, dtype=instant).alias("window"),
        pl.lit(span.end, dtype=instant).alias("window_end"),
        pl.lit(final).alias("final"),
        pl.all(),
        pl.lit(span.name).alias(PARTITION_KEY),
    )


def windows_of(spec: ModelSpec, rows: pl.DataFrame) -> tuple[dict[str, str], ...]:
    """Return a line a window and version of <model>/performance for people, the newest first."""
    score, loss, calibration = quality_metrics(spec)
    names = (score, loss, calibration, "mean_answer", "mean_label", "degraded_share")
    whole = rows.filter(pl.col("slice") == ALL).sort("window", "version", descending=True)
    lines = []
    for (window, version), own in whole.group_by("window", "version", maintain_order=True):
        found = {row["metric"]: row for row in own.iter_rows(named=True)}
        counts = found["rows"]
        lines.append(
            {
                "window": f"{window:%Y-%m-%d}",
                "version": str(version),
                "state": "final" if counts["final"] else "running",
                "answers": f"{counts['rows']:,}",
                "labels": f"{counts['labelled']:,}",
                **{name: _told(found.get(name)) for name in names},
            }
        )
    return tuple(lines)


def _told(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "-"
    return f"{row['value']:.3f}" + (f" [{row['low']:.3f}, {row['high']:.3f}]" if row["low"] is not None else "")


def _pictures(platform: Platform, spec: ModelSpec, rows: pl.DataFrame) -> dict[str, Any]:
    from checks.monitoring_plot import over_windows

    score, _, calibration = quality_metrics(spec)
    marks = [(datetime.fromisoformat(at), version) for at, version in promotions(platform, spec)]
    first = rows["window"].min()
    marks = [(at, version) for at, version in marks if first is not None and at >= first]  # type: ignore[operator]
    png = over_windows(rows.filter(pl.col("slice") == ALL), (score, calibration), marks)
    return {
        "score and calibration": shown(png),
        "windows": dg.MetadataValue.md(markdown_table(windows_of(spec, rows)[:_SHOWN])),
    }
