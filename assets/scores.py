"""Batch inference as an asset: <model>/scores, a month a partition, by the version that serves; and its checks.

What a month is made from is in assets/score_inputs.py, the work in ml/batch_scores.py, `make scores` in
assets/score_months.py.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import polars as pl

from assets.gates import Batch, Gate, gate_checks
from assets.metadata import column_schema, preview, whole_table
from assets.partitions import partitions_of
from assets.resources import Platform
from assets.score_inputs import Inputs, admitted, asked_in, differing, questions
from assets.step_pods import LARGE
from checks.outcome import Outcome
from checks.scores import AGREE, COMPLETE, SAMPLE, check_agreement, check_complete
from ml.batch_scores import MODEL_VERSION, ONNX_SHA256, Graph, Scores, score_rows
from ml.feature_views import FeatureView
from ml.months import Months
from ml.onnx_file import require_unchanged
from ml.provenance import git_commit
from ml.rows import StreamedRows
from ml.spec import ModelSpec
from ml.task import task_of

WORK = "scoring"  # the folder of the home in which a run keeps its scores until all are made
_SHORTEST_MONTH = timedelta(days=28)
_SAME = ("content", MODEL_VERSION, ONNX_SHA256, "threshold", "sources")  # of two commits that are one


def scores_assets(
    spec: ModelSpec, views: Sequence[FeatureView], months: Months
) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Return the scores of a spec's champion in the `months` of its outcomes, and their blocking checks."""
    return [_scores(spec, views, months), _gates(spec, months)]


def _scores(spec: ModelSpec, views: Sequence[FeatureView], months: Months) -> dg.AssetsDefinition:
    table = f"{spec.name}/scores"

    @dg.asset(
        key=[spec.name, "scores"],
        deps=[dg.AssetDep([spec.name, "deployment"]), *_published(spec, views)],
        partitions_def=partitions_of(months),
        backfill_policy=dg.BackfillPolicy.multi_run(),  # a month a run: each has its own checks, and fails alone
        op_tags=LARGE,
        kinds={"delta", "feast", "onnx"},
        owners=[spec.owner],
        code_version="1",
        description=(
            f"{spec.name} asked about every row of a month, labelled or not, by the version that serves: the same "
            "graph, features as known at prediction_time. Joined and scored in slices."
        ),
    )
    def scores(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        month = context.partition_key
        inputs = admitted(platform, spec, month)
        with TemporaryDirectory(dir=_work(platform), prefix=f"{spec.name}-{month}-") as folder:
            made = _made(platform, spec, inputs, month, Path(folder), context.log.info)
            version = _write_once(platform, table, month, made, _provenance(inputs, made))
        rows = platform.lake.read(table, version, [month])
        rate = made.rows / made.seconds
        context.log.info(f"{table}[{month}]: {made.rows:,} rows, {rate:,.0f} rows/s, version {version}")
        return dg.MaterializeResult(
            data_version=dg.DataVersion(f"{spec.name}@{inputs.version.number}:{made.content[:16]}"),
            metadata={
                "dagster/partition_row_count": made.rows,
                "dagster/row_count": whole_table(platform.lake.read(table, version)),
                "dagster/column_schema": column_schema(rows.collect_schema()),
                "dagster/table_name": table,
                "table version": str(version),
                "rows a second": rate,
                "seconds": made.seconds,
                "mean": rows.select(pl.col(inputs.version.output).cast(pl.Float64).mean()).collect().item(),
                "content hash": made.content,
                **_told(inputs),
                "preview": dg.MetadataValue.md(preview(rows)),
            },
        )

    return scores


def _told(inputs: Inputs) -> dict[str, Any]:
    """Return what scores were made from, for the UI."""
    return {
        "model version": inputs.version.number,
        "onnx sha256": inputs.version.onnx_sha256,
        "threshold": "none" if inputs.version.threshold is None else inputs.version.threshold,
        "source versions": dict(inputs.sources),
        "partitions read": {name: ", ".join(months) for name, months in inputs.partitions.items()},
    }


def _published(spec: ModelSpec, views: Sequence[FeatureView]) -> list[dg.AssetDep]:
    """Return the published tables with the months of them that a month reads: as far back as a row is valid."""
    reach = {spec.outcome.table: 1, **{v.name: -(-v.ttl // _SHORTEST_MONTH) for v in views if v.name in spec.views}}
    return [
        dg.AssetDep(
            ["published", name],
            partition_mapping=dg.TimeWindowPartitionMapping(
                start_offset=-months, allow_nonexistent_upstream_partitions=True
            ),
        )
        for name, months in reach.items()
    ]


def _work(platform: Platform) -> Path:
    folder = platform.settings.root / WORK
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _made(
    platform: Platform, spec: ModelSpec, inputs: Inputs, month: str, folder: Path, tell: Callable[[str], None]
) -> Scores:
    asked = questions(platform, spec, inputs, month)
    if not asked.rows.height:
        raise LookupError(
            f"published/{spec.outcome.table} has no row that {spec.name} is asked about in {month} (UTC, by "
            f"{spec.outcome.prediction_time}): there is nothing to score"
        )
    at_once = asked.at_once(platform.settings.score_memory_mb)
    store = platform.feature_store(inputs.sources)
    return score_rows(asked, inputs.graph, inputs.version, month, store, folder, at_once, tell)


def _provenance(inputs: Inputs, made: Scores) -> dict[str, Any]:
    """Return what goes with the commit: enough to say what the scores were made from, and to make them again."""
    return {
        "content": made.content,
        "rows": made.rows,
        MODEL_VERSION: inputs.version.number,
        ONNX_SHA256: inputs.version.onnx_sha256,
        "threshold": inputs.version.threshold,
        "sources": dict(inputs.sources),
        "read": dict(inputs.partitions),
        "git": git_commit(),
    }


def _write_once(platform: Platform, table: str, month: str, made: Scores, metadata: Mapping[str, Any]) -> int:
    """Write the month unless it holds the same scores, made from the same versions; return its version."""
    for version in platform.lake.partition_versions(table, [month]).values():
        before = platform.lake.metadata(table, version)
        if all(before.get(name) == metadata[name] for name in _SAME):
            return version
    with platform.lake.lock(table):
        return platform.lake.replace_streamed(table, made.batches(), month, metadata)


def _gates(spec: ModelSpec, months: Months) -> dg.AssetChecksDefinition:
    complete = Gate(
        COMPLETE,
        "A score for every row asked about in the month, each once: a number, a probability within 0 and 1; decided by "
        "the threshold; all by one version.",
        lambda batch: _complete(spec, batch),
    )
    agree = Gate(
        AGREE,
        f"Up to {SAMPLE:,} rows of the version's training set: scored from there, not one bit differs.",
        lambda batch: _agreement(spec, batch),
    )
    return gate_checks(f"{spec.name}/scores", [complete, agree], months=months)


def _complete(spec: ModelSpec, batch: Batch) -> Outcome:
    made, lake = batch.platform.lake.metadata(batch.table, batch.version), batch.platform.lake
    table = spec.outcome.table
    asked = lake.read(f"published/{table}", made["sources"][table], made["read"][table])
    ids = asked.filter(asked_in(spec, batch.partition)).select(spec.outcome.row_id)
    scored = lake.read(batch.table, batch.version, [batch.partition])
    return check_complete(scored, ids, task_of(spec).output, made["threshold"])


def _agreement(spec: ModelSpec, batch: Batch) -> Outcome:
    platform = batch.platform
    made, learned = platform.lake.metadata(batch.table, batch.version), f"{spec.name}/training_set"
    version = platform.registry.version(spec.name, made[MODEL_VERSION])
    number = version.training_set_version
    if platform.lake.lost(learned, number):
        return Outcome(True, f"{learned} version {number} was removed by retention: there is nothing to compare")
    joined = platform.lake.metadata(learned, number)["sources"]
    moved = differing(platform, spec, made["sources"], joined, batch.partition)
    if moved:
        return Outcome(
            True, f"not compared: published anew since version {version.version} learned: {', '.join(moved)}"
        )
    graph = Graph(platform.registry.onnx_path(version))
    require_unchanged(version, graph.onnx)
    rows = StreamedRows.where(platform.lake.read(learned, number), asked_in(spec, batch.partition)).sample(SAMPLE)
    scored = platform.lake.read(batch.table, batch.version, [batch.partition])
    return check_agreement(scored, rows, graph.answers(rows), spec.outcome.row_id, task_of(spec).output)
