"""The training and model stages: for each ModelSpec a training set and a registered candidate, each gated."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from assets.automation import WHEN_CHECKED
from assets.column_lineage import columns_of
from assets.drift import serving_drift_gate
from assets.gates import Batch, Gate, gate_checks
from assets.graph_inputs import graph_inputs
from assets.leakage import leakage_gate
from assets.links import page_link, run_link
from assets.metadata import preview, shown
from assets.parity import parity_gate
from assets.promotion import promotion_gate, require_trained
from assets.resources import Platform
from assets.step_pods import LARGE
from assets.trainer import Trainer
from checks.outcome import Outcome
from checks.training_rows import CHECK as TRAINING_ROWS
from checks.training_rows import check_training_rows
from ml.card import PAGE_FILE
from ml.fingerprint import content_hash, json_hash
from ml.label_picture import label_picture
from ml.model_version import ModelVersion
from ml.provenance import git_commit
from ml.source import Source
from ml.spec import ModelSpec
from ml.trained_spec import AS_OF, trained_spec

BOUNDS = "bounds"  # in the evidence of a model's verdicts


class AsOf(dg.Config):
    """When a training set is made for: a retraining learns from what was known then, in windows that end there."""

    as_of: str = Field(
        "", description="Instant with a time zone, such as 2013-07-01T00:00+00:00; empty: the windows in the spec."
    )

    @property
    def moment(self) -> datetime | None:
        """The instant, None for the spec's own windows. Raises ValueError if it is none or has no time zone."""
        if not self.as_of:
            return None
        moment = datetime.fromisoformat(self.as_of)
        if moment.tzinfo is None:
            raise ValueError(f"as_of {self.as_of!r} has no time zone; write it like 2013-07-01T00:00+00:00")
        return moment.astimezone(UTC)


def training_assets(spec: ModelSpec, sources: Sequence[Source]) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Return the training set and the model of a spec, with their blocking checks."""
    return [_training_set(spec, sources), _training_set_gates(spec, sources), _model(spec, sources), _model_gates(spec)]


def _training_set(spec: ModelSpec, landed: Sequence[Source]) -> dg.AssetsDefinition:
    tables = [*spec.views, spec.outcome.table]

    @dg.asset(
        key=[spec.name, "training_set"],
        deps=[dg.AssetDep(["published", name]) for name in tables],
        kinds={"delta", "feast"},
        owners=[spec.owner],
        automation_condition=WHEN_CHECKED,
        op_tags=LARGE,
        code_version=json_hash(spec.model_dump(include={"outcome", "features", "request"}))[:12],
        description=(
            f"Rows that {spec.name} learns from: each labelled outcome with its features as known at "
            "prediction_time. Point-in-time join through Feast; an immutable version."
        ),
    )
    def training_set(
        context: dg.AssetExecutionContext, config: AsOf, platform: dg.ResourceParam[Platform]
    ) -> dg.MaterializeResult:
        table, moment = f"{spec.name}/training_set", config.moment
        sources = {name: platform.guard.admit_published(table, name) for name in tables}
        rows = _joined(platform, spec, sources, moment)
        metadata = _provenance(platform, spec, sources, moment, rows)
        version, content = _write_once(platform, table, rows, metadata), metadata["content"]
        context.log.info(f"{table}: {rows.height} rows, version {version}")
        return dg.MaterializeResult(
            data_version=dg.DataVersion(content[:16]),
            metadata={
                "dagster/row_count": rows.height,
                "dagster/table_name": table,
                "table version": str(version),
                "content hash": content,
                "source versions": sources,
                "positive share": rows.select(pl.col(spec.outcome.label).mean()).item(),
                "rows and label by week": shown(label_picture(trained_spec(spec, metadata), rows)),
                "preview": dg.MetadataValue.md(preview(rows.lazy())),
                **columns_of(platform, landed, (spec,), table, rows.schema),
            },
        )

    return training_set


def _joined(platform: Platform, spec: ModelSpec, sources: Mapping[str, int], moment: datetime | None) -> pl.DataFrame:
    """Return the outcomes known by `moment` with their features, of the published versions `sources`."""
    from ml.training_set import build_training_set

    outcomes = platform.lake.read(f"published/{spec.outcome.table}", sources[spec.outcome.table])
    known = outcomes.filter(_known_by(spec, moment)).collect()
    return build_training_set(spec, known, platform.feature_store(sources))


def _provenance(
    platform: Platform, spec: ModelSpec, sources: Mapping[str, int], moment: datetime | None, rows: pl.DataFrame
) -> dict[str, Any]:
    """Return what a version of the training set keeps of itself: what it holds, and what it was made from."""
    return {
        "content": content_hash(rows),
        "rows": rows.height,
        "sources": sources,
        "dbt_manifest": _manifest_hash(platform),
        "git": git_commit(),
        AS_OF: None if moment is None else spec.as_of(moment).split.test.end.isoformat(),
    }


def _known_by(spec: ModelSpec, moment: datetime | None) -> pl.Expr:
    """Return whether an outcome was asked before the instant, and its label known by then."""
    if moment is None:
        return pl.lit(True)
    return (pl.col(spec.outcome.prediction_time) < moment) & (pl.col(spec.outcome.label_timestamp) <= moment)


def _write_once(platform: Platform, table: str, rows: pl.DataFrame, metadata: dict[str, Any]) -> int:
    """Write a new version unless the newest has the same content, joined from the same versions."""
    for commit in platform.lake.history(table)[:1]:
        if all(commit["metadata"].get(name) == metadata[name] for name in ("content", "sources", AS_OF)):
            return commit["version"]
    return platform.lake.replace(table, rows, None, metadata)


def _manifest_hash(platform: Platform) -> str:
    nodes = json.loads(platform.manifest.read_text())["nodes"]
    return json_hash({name: node["checksum"]["checksum"] for name, node in nodes.items()})


def _training_set_gates(spec: ModelSpec, sources: Sequence[Source]) -> dg.AssetChecksDefinition:
    rows = Gate(
        TRAINING_ROWS,
        "Unique rows, both classes in every window, labels after and feature times before the question.",
        lambda batch: check_training_rows(
            trained_spec(spec, batch.platform.lake.metadata(batch.table, batch.version)), batch.rows
        ),
    )
    return gate_checks(f"{spec.name}/training_set", [rows, parity_gate(spec), leakage_gate(spec, sources)])


def _model(spec: ModelSpec, landed: Sequence[Source]) -> dg.AssetsDefinition:
    @dg.asset(
        key=[spec.name, "model"],
        deps=[dg.AssetDep([spec.name, "training_set"])],
        pool="train",
        kinds={"pytorch", "mlflow", "onnx"},
        owners=[spec.owner],
        metadata={"trained on, in a cluster": str(spec.training.resources)},
        code_version=json_hash(spec.model_dump(mode="json", include={"split", "network", "training", "elapsed"}))[:12],
        description=f"{spec.description} A registered candidate: one ONNX graph, raw values in, probability out.",
    )
    def model(
        context: dg.AssetExecutionContext,
        platform: dg.ResourceParam[Platform],
        trainer: dg.ResourceParam[Trainer],
    ) -> dg.MaterializeResult:
        table = f"{spec.name}/training_set"
        (version,) = platform.guard.admit(f"{spec.name}/model", table).values()
        with _work_folder(platform, spec) as folder:
            result = trainer.train(
                context,
                spec,
                _arguments(platform, spec, table, version, str(folder)),
                platform.settings.registry_variables,
            )
            assert result.data_version is not None  # ml/train.py reports the version's number as such
            candidate = platform.registry.version(spec.name, result.data_version.value)
            page = _card_page(platform, candidate, folder)
        platform.registry.challenge(spec.name, candidate.version)
        inputs = graph_inputs(platform.registry.onnx_path(candidate))
        told = columns_of(platform, landed, (spec,), f"{spec.name}/model", inputs)
        return result._replace(
            metadata={
                **(result.metadata or {}),
                "model card's page": page,
                "mlflow run": run_link(platform, candidate),
                **told,
            }
        )

    return model


@contextmanager
def _work_folder(platform: Platform, spec: ModelSpec) -> Iterator[Path]:
    """Give a folder to train in. It stays, until `make vacuum`, if a trained model could not be registered."""
    work = platform.settings.root / "training"
    work.mkdir(parents=True, exist_ok=True)
    folder = Path(mkdtemp(dir=work, prefix=f"{spec.name}-"))
    trained = False
    try:
        yield folder
    except Exception:
        trained = (folder / PAGE_FILE).exists()  # written when the model is trained and measured
        raise
    finally:
        if not trained:
            shutil.rmtree(folder)


def _card_page(platform: Platform, candidate: ModelVersion, folder: Path) -> dg.UrlMetadataValue:
    """Keep the card's page with the other reports, where `make ui` serves it."""
    page = platform.settings.reports / "card" / f"{candidate.name}-v{candidate.version}.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / PAGE_FILE, page)
    return page_link(platform.settings, page)


def _arguments(platform: Platform, spec: ModelSpec, table: str, version: int, folder: str) -> list[str]:
    """Return the arguments of `python -m ml.train`: the same here and in a pod."""
    settings, metadata = platform.settings, platform.lake.metadata(table, version)
    return [
        *("--model", spec.name),
        *("--training-set", platform.lake.path(table), "--version", str(version)),
        *("--training-set-hash", metadata["content"], "--provenance", json.dumps(metadata)),
        # Stable, unlike the work folder: materializing again after a crash goes on from it.
        *("--out", folder, "--checkpoint", str(settings.root / "training" / spec.name / "checkpoint")),
        *("--max-seconds", str(settings.train_seconds)),
        *(("--memory-mb", str(settings.train_memory_mb)) if settings.train_memory_mb else ()),
    ]


def bounds_of(spec: ModelSpec) -> str:
    """Return the hash of the bounds in a spec."""
    return json_hash(spec.gates.model_dump(mode="json"))[:16]


def _with_bounds(gate: Gate, spec: ModelSpec) -> Gate:
    """Keep with each verdict by which bounds it was given: by other ones, a refusal is not final."""

    def judge(batch: Batch) -> Outcome:
        outcome = gate.judge(batch)
        return replace(outcome, evidence={**outcome.evidence, BOUNDS: bounds_of(spec)})

    return replace(gate, judge=judge)


def _model_gates(spec: ModelSpec) -> dg.AssetChecksDefinition:
    def newest(platform: Platform) -> int:
        return int(platform.registry.newest(spec.name).version)

    gates = [_with_bounds(gate, spec) for gate in (promotion_gate(spec), serving_drift_gate(spec))]
    return gate_checks(f"{spec.name}/model", gates, version=newest, require=partial(require_trained, spec))
