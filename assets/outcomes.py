"""What happened after each answer: <model>/outcomes, a month a partition, and how far labels lag behind the clock.

The join of answers and labels is in ml/labels.py.
"""

from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from assets.gates import Batch, Gate, gate_checks
from assets.metadata import column_schema, preview
from assets.monitoring_rows import outcomes_table
from assets.resources import Platform
from checks.freshness import ARRIVAL, check_arrival
from checks.outcome import Outcome
from ml.fingerprint import content_hash
from ml.labels import with_labels
from ml.lake import PARTITION_KEY
from ml.recalibration import row_losses
from ml.spec import ModelSpec
from ml.task import task_of

_BASE = ("prediction_id", "time", "model_version", "variant", "revision", "degraded", "taken_ms")
_LEFT_OUT = ("model", "answered", "probability", "value")
_LEAST_LAG = timedelta(days=1)


def outcomes_assets(spec: ModelSpec) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Return the answers of a spec's deployment with their labels, and the check of their freshness."""
    return [_outcomes(spec), _freshness(spec)]


def _outcomes(spec: ModelSpec) -> dg.AssetsDefinition:
    table = outcomes_table(spec)

    @dg.asset(
        key=[spec.name, "outcomes"],
        deps=[dg.AssetDep([spec.name, "predictions"]), dg.AssetDep(["published", spec.outcome.table])],
        kinds={"delta"},
        owners=[spec.owner],
        code_version="1",
        description=(
            f"What callers of {spec.name} were answered at least {spec.outcome.label_hours:g} hours ago, and what "
            "happened, as far as it is known by the platform's clock; null where no label came. A label that is "
            "corrected later takes its place; earlier versions of the table keep what was known."
        ),
    )
    def outcomes(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        written = bring_outcomes(platform, spec)
        context.log.info(f"{table}: written {', '.join(written) or 'nothing, no row changed'}")
        metadata: dict[str, Any] = {"dagster/table_name": table, "months written": ", ".join(written) or "none"}
        if platform.lake.exists(table):
            rows = platform.lake.read(table)
            counted = rows.select(pl.len(), pl.col(spec.outcome.label).count().alias("labelled")).collect()
            count, labelled = counted.row(0)
            metadata |= {
                "dagster/row_count": count,
                "dagster/column_schema": column_schema(rows.collect_schema()),
                "with a label": labelled,
                "without any label": count - labelled,
                "preview": dg.MetadataValue.md(preview(rows.sort("time", descending=True))),
            }
        return dg.MaterializeResult(metadata=metadata)

    return outcomes


def bring_outcomes(platform: Platform, spec: ModelSpec) -> list[str]:
    """Write the months of <model>/outcomes whose rows are others than before, and return these.

    Raises GateClosed if the published outcomes may not be read, LookupError if no predictions have landed.
    """
    name, now, lake = spec.outcome.table, platform.clock.now(), platform.lake
    version = platform.guard.admit_published(outcomes_table(spec), name)
    labels = lake.read(f"published/{name}", version).drop(PARTITION_KEY, strict=False).collect()
    answers = lake.read(f"{spec.name}/predictions").filter("answered")
    months = answers.select(pl.col("time").dt.strftime("%Y-%m").unique().sort()).collect()["time"]
    written = []
    for month in months:
        asked = answers.filter(pl.col("time").dt.strftime("%Y-%m") == month).collect()
        rows = outcome_frame(spec, asked, labels, now).with_columns(pl.lit(month).alias(PARTITION_KEY))
        if rows.height and _write_once(platform, outcomes_table(spec), month, rows, version):
            written.append(month)
    return written


def outcome_frame(spec: ModelSpec, asked: pl.DataFrame, labels: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Return a row of <model>/outcomes for each of the answers [N] that is mature.

    Row id, label and its instant are called as in the outcome table; `answer` and `loss` as here, for every model.
    """
    outcome, output = spec.outcome, task_of(spec).output
    found = with_labels(spec, asked, labels, now)
    told = (outcome.row_id, outcome.label, outcome.label_timestamp)
    said = [c for c in asked.columns if "__" not in c and c not in (*_BASE, *_LEFT_OUT, output, *told)]
    rows = found.select(
        *_BASE,
        *said,
        pl.col(output).alias("answer"),
        *told,
    )
    label, answer = (rows[c].cast(pl.Float64).fill_null(float("nan")).to_numpy() for c in (outcome.label, "answer"))
    losses = pl.Series("loss", row_losses(spec.task, label, answer))
    known = pl.col(outcome.label).is_not_null() & pl.col("answer").is_not_null()
    return (
        rows.with_columns(losses).with_columns(pl.when(known).then("loss").alias("loss")).sort("time", "prediction_id")
    )


def _write_once(platform: Platform, table: str, month: str, rows: pl.DataFrame, labels: int) -> bool:
    """Write the month unless it holds the same rows; return whether it was written."""
    content = content_hash(rows)
    with platform.lake.lock(table):
        versions = platform.lake.partition_versions(table, [month]) if platform.lake.exists(table) else {}
        if any(platform.lake.metadata(table, v).get("content") == content for v in versions.values()):
            return False
        platform.lake.replace(table, rows, [month], {"content": content, "rows": rows.height, "labels": labels})
    return True


def _freshness(spec: ModelSpec) -> dg.AssetChecksDefinition:
    within = max(timedelta(hours=spec.outcome.label_hours), _LEAST_LAG)
    quiet = timedelta(days=spec.monitoring.window_days)
    gate = Gate(
        ARRIVAL,
        f"By the platform's clock, the newest answer is at most {quiet} old, and the newest label that has come "
        f"at most {within}: where no answers or labels come, nothing is judged.",
        lambda batch: _judge(batch, spec, within, quiet),
        blocking=False,
    )

    def version(platform: Platform) -> int:
        return platform.lake.version(outcomes_table(spec)) if platform.lake.exists(outcomes_table(spec)) else 0

    return gate_checks(outcomes_table(spec), [gate], version=version)


def _judge(batch: Batch, spec: ModelSpec, within: timedelta, quiet: timedelta) -> Outcome:
    lake, now = batch.platform.lake, batch.platform.clock.now()
    answers = lake.read(f"{spec.name}/predictions").filter("answered").select(pl.col("time").max()).collect().item()
    published = batch.platform.publications.require(spec.outcome.table).version
    instant = pl.col(spec.outcome.label_timestamp)
    known = lake.read(f"published/{spec.outcome.table}", published).select(instant.filter(instant <= now).max())
    parts = {
        "answers": check_arrival(answers, now, quiet, now),
        "labels": check_arrival(known.collect().item(), now, within, now),
    }
    return Outcome(
        all(part.passed for part in parts.values()),
        "; ".join(f"{name}: {part.summary}" for name, part in parts.items()),
        {name: dict(part.evidence) for name, part in parts.items()},
        tuple({"what": name, "fresh": part.passed, "told": part.summary} for name, part in parts.items()),
    )
