"""The promotion gate of a model: what is compared with what, and the verdict in MLflow beside the one in the lake.

The rules stand in checks/promotion.py. Not here: deploying (assets/deployment.py), who approved (assets/approval.py).
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from assets.gates import Batch, Gate
from assets.resources import Platform
from assets.rollout import APPROVED_BY, window_rows
from checks.outcome import Outcome
from checks.promotion import CHECK
from ml.spec import ModelSpec
from ml.trained_spec import AS_OF, trained_spec

if TYPE_CHECKING:
    from checks.contest import Contest
    from checks.promotion import Judged
    from ml.model_version import ModelVersion


@dataclass(frozen=True)
class Champion:
    """Whom a candidate must beat: the version's number and the file that answers for it."""

    version: str
    onnx: Path


def promotion_gate(spec: ModelSpec) -> Gate:
    """Return the blocking check of a candidate."""
    return Gate(
        CHECK,
        "Candidate against absolute bounds and against the champion, on the same held-out rows: score, calibration, "
        "slices, leakage, ONNX parity, cost (docs/promotion.md).",
        lambda batch: _promotion(spec, batch),
    )


def require_trained(spec: ModelSpec, platform: Platform, instance: dg.DagsterInstance) -> None:
    """Raise LookupError if the version that Dagster trained last is gone: no older one is judged in its place."""
    newest = int(platform.registry.newest(spec.name).version)
    records = instance.fetch_materializations(dg.AssetKey([spec.name, "model"]), limit=1).records
    found = records[0].asset_materialization if records else None
    trained = None if found is None else found.metadata.get("version")
    if trained is not None and int(str(trained.value)) > newest:
        raise LookupError(
            f"version {trained.value} of model {spec.name!r} is gone from the registry since it was trained; nothing "
            f"is judged or promoted: materialize {spec.name}/model again"
        )


def champion_of(platform: Platform, candidate: "ModelVersion") -> Champion | None:
    """Return whom the candidate must beat, None if nobody, or if it serves already.

    What Triton serves is the champion; MLflow's alias counts only where nothing is deployed. Raises LookupError if the
    alias is on the candidate itself though no gate and nobody ever let it pass, or on a version without a file.
    """
    from ml.onnx_file import file_hash
    from serving.model_repository import ModelRepository

    served = ModelRepository(platform.settings.serving_home).deployed(candidate.name)
    if served is not None:
        champion = Champion(served.champion.version, Path(served.champion.onnx))
        same = champion.version == candidate.version and champion.onnx.is_file()
        same = same and file_hash(champion.onnx) == file_hash(platform.registry.onnx_path(candidate))
        return None if same else champion
    alias = platform.registry.champion(candidate.name)
    if alias is None:
        return None
    if alias.version != candidate.version:
        return Champion(alias.version, platform.registry.onnx_path(alias))
    if APPROVED_BY not in candidate.tags and not _ever_passed(platform, candidate):
        raise LookupError(
            f"the alias 'champion' is on version {candidate.version} of {candidate.name!r}, which no gate ever let "
            "pass: take it away in MLflow, or put it back where it was"
        )
    return None


def _promotion(spec: ModelSpec, batch: Batch) -> Outcome:
    from checks.promotion import refused

    registry = batch.platform.registry
    try:
        candidate = registry.version(spec.name, str(batch.version))
    except LookupError as error:
        return Outcome(False, f"there is nothing to judge: {error}")
    if why := _left_service(batch.platform, candidate):
        return Outcome(False, f"it has left service ({why}); train a new version")
    about: dict[str, Any] = {"model": spec.name, "version": candidate.version, "run": batch.run_id}
    try:
        judged, more = _judged(spec, batch.platform, candidate)
    except (LookupError, ValueError) as error:
        judged, more = refused(f"cannot be judged: {error}"), {}
    return _shown(batch.platform, candidate, judged, {**about, **more})


def _judged(spec: ModelSpec, platform: Platform, candidate: "ModelVersion") -> "tuple[Judged, dict[str, Any]]":
    """Return the verdict and what it is about."""
    from checks.model_file import examine
    from checks.promotion import check_promotion
    from ml.onnx_file import require_unchanged
    from ml.scoring import score

    onnx, proof = platform.registry.onnx_path(candidate), platform.registry.proof_path(candidate)
    proven = require_unchanged(candidate, onnx)
    champion = champion_of(platform, candidate)
    contest = contest_of(platform, spec, candidate, champion)
    spec, rows, table_version = contest.spec, contest.rows, candidate.training_set_version
    if proof != onnx:
        contest = replace(contest, refit=score(onnx, rows))
    contest = replace(contest, refresh=_is_refresh(platform, candidate, champion))
    judged = check_promotion(contest, examine(spec, onnx, rows, proven, candidate.metrics.get("onnx_difference")))
    return judged, {
        "mlflow run": candidate.run_id,
        "champion": "none, or it is this version" if champion is None else f"version {champion.version}",
        "held-out rows": f"{rows.height}, asked from {spec.split.test.start} to {spec.split.test.end}",
        "training set": f"{spec.name}/training_set version {table_version}",
    }


def contest_of(platform: Platform, spec: ModelSpec, candidate: "ModelVersion", champion: Champion | None) -> "Contest":
    """Return a version's answers on the held-out rows of its own training set, and the champion's on the same rows."""
    version = candidate.training_set_version
    trained = trained_spec(spec, platform.lake.metadata(f"{spec.name}/training_set", version))
    rows = window_rows(platform, trained, version, trained.split.test)
    return _contest(trained, rows, platform.registry.proof_path(candidate), champion)


def _is_refresh(platform: Platform, candidate: "ModelVersion", champion: Champion | None) -> bool:
    """Whether a candidate is a retraining by the champion's own recipe: as of later, and nothing else."""
    from ml.model_version import RECIPE

    if champion is None or not candidate.tags.get(AS_OF):
        return False
    recipe = candidate.tags.get(RECIPE)
    return recipe is not None and platform.registry.version(candidate.name, champion.version).tags.get(RECIPE) == recipe


def _contest(spec: ModelSpec, rows: pl.DataFrame, onnx: Path, champion: Champion | None) -> "Contest":
    from checks.contest import Contest
    from ml.scoring import score

    answers = score(onnx, rows)
    if champion is None:
        return Contest(spec, rows, answers)
    try:
        return Contest(spec, rows, answers, score(champion.onnx, rows))
    except (LookupError, ValueError) as error:
        why = f"champion, version {champion.version}, cannot be scored on the candidate's rows: {error}"
        return Contest(spec, rows, answers, trouble=why)


def _shown(platform: Platform, version: "ModelVersion", judged: "Judged", about: dict[str, Any]) -> Outcome:
    """Write the verdict to MLflow and return it; what MLflow does not take is said, and does not change it."""
    from checks.promotion_evidence import reasons, short_text, verdict_of, write_evidence

    tags = {"verdict": verdict_of(judged), "verdict_reasons": reasons(judged), "verdict_run": about["run"]}
    try:
        with TemporaryDirectory(prefix="headwater-verdict-") as folder:
            write_evidence(Path(folder), judged, about)
            platform.registry.keep(version, Path(folder), "evidence")
        platform.registry.tag(version, tags)
        platform.registry.describe(version, short_text(judged, about))
    except Exception as error:  # MLflow, its database and its files fail in many ways
        why = " ".join(str(error).split())[:200]
        outcome = judged.outcome
        return replace(outcome, summary=f"{outcome.summary}; MLflow does not show this verdict: {why}")
    return judged.outcome


def _left_service(platform: Platform, version: "ModelVersion") -> str:
    """Return why a version was taken out of service, "" if it was not: what it did there counts for good."""
    from serving.rollout import LEFT_SERVICE

    rows = platform.verdicts.rows(f"{version.name}/model").filter(version=int(version.version), check=CHECK)
    told = [json.loads(text) for text in rows["evidence"].to_list()]
    return next((str(one["summary"]) for one in told if one.get(LEFT_SERVICE)), "")


def _ever_passed(platform: Platform, version: "ModelVersion") -> bool:
    rows = platform.verdicts.rows(f"{version.name}/model")
    return not rows.filter(version=int(version.version), check=CHECK, passed=True).is_empty()
