"""The promotion gate on a real registry: models trained, registered, judged, and tampered with."""

import dataclasses
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import torch

from assets.approval import approval
from assets.drill_registry import ADDRESSES
from assets.gates import Batch
from assets.override import grant
from assets.promotion import champion_of, promotion_gate, require_trained
from assets.resources import Platform
from checks.guard import GateClosed
from ml.candidate import make_candidate
from ml.clock import ReplayClock
from ml.lake import WHOLE
from ml.onnx_file import ONNX_SHA256, file_hash
from ml.settings import Settings
from ml.verdicts import Verdict
from tests.ml.synthetic import SPEC as SMALL
from tests.ml.synthetic import training_rows

# One number carries the made-up label by design; the bound on it has a test of its own.
GATES = SMALL.gates.model_copy(update={"max_feature_share": 1.2, "max_calibration_error": 0.1})
SPEC = SMALL.model_copy(update={"gates": GATES, "slices": ("carrier", "departure_local")})
TABLE = f"{SPEC.name}/model"
NOW = datetime(2013, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A home with a training set and a good version 1 of the model."""
    platform = Platform(Settings(home=tmp_path_factory.mktemp("home")))
    ReplayClock(platform.settings.clock_file).set(NOW)
    platform.lake.replace(f"{SPEC.name}/training_set", training_rows(SPEC, 9000))
    train(platform)
    return platform


@pytest.fixture
def platform(trained, tmp_path):
    """A copy of it that a test may spoil; MLflow keeps absolute places, so the files are the copy's own."""
    home = tmp_path / "home"
    shutil.copytree(trained.settings.root, home)
    copied = Platform(Settings(home=home))
    move(copied, trained.settings.root, copied.settings.root)
    return copied


def move(platform, old, new):
    import sqlite3

    from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

    _artifact_repos_cache.clear()  # MLflow remembers a run's place for the life of the process
    with sqlite3.connect(platform.settings.tracking_uri.removeprefix("sqlite:///")) as database:
        for table, column in ADDRESSES:
            database.execute(f"update {table} set {column} = replace({column}, ?, ?)", (str(old), str(new)))


def train(platform, refit=False, tags=(), **training):
    spec = SPEC.model_copy(update={"training": SPEC.training.model_copy(update=training)})
    rows = platform.lake.read(f"{SPEC.name}/training_set").collect()
    out = platform.settings.root / "training"
    out.mkdir(parents=True, exist_ok=True)
    told = {"training_set_version": 0, **dict(tags)}
    return make_candidate(spec, rows.lazy(), platform.registry, told, torch.device("cpu"), out, refit=refit)


def judge(platform, version="1", spec=SPEC):
    """Judge a version as the check does, and record the verdict."""
    outcome = promotion_gate(spec).judgement(Batch(platform, TABLE, int(version), WHOLE, "run-7")).outcome
    verdict = Verdict(TABLE, int(version), "promotion", outcome.passed, evidence=outcome.evidence, run_id="run-7")
    platform.verdicts.record([verdict, dataclasses.replace(verdict, check="serving_drift", passed=True)])
    return outcome


def broken(outcome):
    return {row["rule"] for row in outcome.table if not row["passed"]}


def test_a_sound_first_version_passes_and_mlflow_shows_the_verdict_with_its_evidence(platform):
    outcome = judge(platform)
    assert outcome.passed, outcome.summary
    version = platform.registry.version(SPEC.name, "1")
    path = platform.registry.onnx_path(version)
    assert version.tags[ONNX_SHA256] == file_hash(path) == outcome.evidence["onnx_sha256"]
    shown = {name: version.tags[name] for name in ("verdict", "verdict_reasons", "verdict_run")}
    assert shown == {"verdict": "passed", "verdict_reasons": "every rule holds", "verdict_run": "run-7"}
    kept = json.loads(platform.registry.artifact(version, "evidence/verdict.json").read_text())
    assert (kept["verdict"], kept["version"], kept["training set"]) == (
        "passed",
        "1",
        "lateness/training_set version 0",
    )
    assert pl.read_csv(platform.registry.artifact(version, "evidence/slices.csv"))["field"].n_unique() == 2
    assert platform.registry.artifact(version, "evidence/importance.csv").stat().st_size > 0
    description = platform.registry.client.get_model_version(SPEC.name, "1").description
    assert description.startswith("**passed** by the promotion gate, run run-7")
    assert "| ROC AUC is high enough |" in description
    assert approval(platform, version, file_hash(path)) == "gates, run run-7"


def test_the_same_model_again_is_refused_and_stays_registered_with_the_reason(platform):
    judge(platform)
    platform.registry.set_aliases(SPEC.name, {"champion": "1"})
    again = train(platform)
    outcome = judge(platform, again.version)
    assert "better than the champion" in broken(outcome)
    version = platform.registry.version(SPEC.name, again.version)
    assert version.tags["verdict"] == "refused"
    assert "not better than the champion beyond noise" in version.tags["verdict_reasons"]
    assert platform.registry.champion(SPEC.name).version == "1"
    # The champion itself may be asked again: nobody has to beat himself.
    assert judge(platform).passed


def test_one_feature_that_carries_the_score_is_named(platform):
    strict = SPEC.model_copy(update={"gates": GATES.model_copy(update={"max_feature_share": 0.3})})
    outcome = judge(platform, spec=strict)
    assert broken(outcome) == {"no feature carries it alone"}
    assert "plane__delay carries" in outcome.summary


def test_changed_missing_and_deleted_files_are_refused_by_name(platform):
    judge(platform)
    version = platform.registry.version(SPEC.name, "1")
    path = platform.registry.onnx_path(version)
    path.write_bytes(path.read_bytes() + b"\0")
    outcome = judge(platform)
    assert not outcome.passed
    assert "was changed under us" in outcome.summary
    assert platform.registry.version(SPEC.name, "1").tags["verdict"] == "refused"
    path.unlink()
    assert "restore it or train again" in judge(platform).summary
    platform.registry.client.delete_model_version(SPEC.name, "1")
    assert "there is nothing to judge: no version 1" in judge(platform).summary


def test_a_version_deleted_after_training_is_not_replaced_by_an_older_one(platform):
    trained = train(platform)
    with dg.DagsterInstance.ephemeral() as instance:
        key = dg.AssetKey([SPEC.name, "model"])
        instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata={"version": trained.version}))
        require_trained(SPEC, platform, instance)
        platform.registry.client.delete_model_version(SPEC.name, trained.version)
        with pytest.raises(LookupError, match=r"version 2 of model 'lateness' is gone.*nothing is judged or promoted"):
            require_trained(SPEC, platform, instance)


def test_a_registry_begun_anew_does_not_inherit_verdicts_on_its_numbers(platform, tmp_path):
    judge(platform)
    shutil.copytree(platform.settings.lake, tmp_path / "anew" / "lake")
    anew = Platform(Settings(home=tmp_path / "anew"))
    assert train(anew, seed=8).version == "1"
    version = anew.registry.version(SPEC.name, "1")
    with pytest.raises(GateClosed, match="passed on another file than the registered one; run the check"):
        approval(anew, version, file_hash(anew.registry.onnx_path(version)))


def test_the_alias_set_by_hand_lets_no_candidate_in(platform):
    platform.registry.client.set_registered_model_alias(SPEC.name, "champion", "1")
    outcome = judge(platform)
    assert not outcome.passed
    assert "which no gate ever let pass" in outcome.summary


def test_what_triton_serves_is_the_champion_wherever_the_alias_stands(platform):
    from serving.model_repository import ModelRepository
    from tests.serving.example import example_plan

    weak = train(platform, epochs=1, learning_rate=1e-4)
    repository = ModelRepository(platform.settings.serving_home)
    onnx = repository.write_artifact(SPEC.name, weak.version, Path(weak.onnx))
    plan = example_plan(platform.settings.home)
    champion = dataclasses.replace(plan.champion, version=weak.version, onnx=str(onnx))
    plan = dataclasses.replace(plan, model=SPEC.name, champion=champion)
    repository.write_plan(plan)
    repository.point(plan, proven=True)
    platform.registry.set_aliases(SPEC.name, {"champion": "1"})  # by hand
    first = platform.registry.version(SPEC.name, "1")
    assert champion_of(platform, first).onnx == onnx
    outcome = judge(platform)
    assert outcome.passed, outcome.summary
    assert "better than the champion" in {row["rule"] for row in outcome.table}
    assert champion_of(platform, platform.registry.version(SPEC.name, weak.version)) is None


def test_a_verdict_that_mlflow_does_not_take_counts_and_says_so(platform):
    version = platform.registry.version(SPEC.name, "1")
    artifacts = platform.registry.run_folder(version.run_id) / "artifacts"
    shutil.rmtree(artifacts / "evidence", ignore_errors=True)
    (artifacts / "evidence").write_text("in the way")
    outcome = judge(platform)
    assert outcome.passed
    assert "MLflow does not show this verdict" in outcome.summary


def test_a_registry_that_cannot_be_opened_is_a_clear_refusal(platform):
    (platform.settings.root / "mlflow" / "mlflow.db").write_bytes(b"no database " * 100)
    outcome = judge(Platform(platform.settings))
    assert not outcome.passed
    assert "cannot be opened" in outcome.summary


def test_an_override_is_on_record_as_the_person_who_approved(platform):
    settings = platform.settings.model_copy(update={"allow_overrides": True})
    platform = Platform(settings)
    assert not judge(
        platform, spec=SPEC.model_copy(update={"gates": GATES.model_copy(update={"max_score": 0.7})})
    ).passed
    until, why = NOW + timedelta(hours=2), "needed for the storm"
    with dg.DagsterInstance.ephemeral() as instance:
        grant(platform, instance, TABLE, WHOLE, who="Ada", why=why, until=until)
    version = platform.registry.version(SPEC.name, "1")
    said = approval(platform, version, version.tags[ONNX_SHA256])
    assert said.startswith("promotion overridden by Ada until 2013-06-01 02:00 UTC: needed for the storm")


def test_a_prompt_of_the_model_s_name_stops_training_before_it_hides_a_version(tmp_path):
    platform = Platform(Settings(home=tmp_path))
    platform.registry.client.register_prompt(SPEC.name, "say {{it}}")
    with pytest.raises(LookupError, match="a prompt has the name 'lateness'"), platform.registry.recording(SPEC.name):
        pass


def test_a_refit_version_is_judged_by_its_proof_and_must_answer_as_that_does(platform):
    made = train(platform, refit=True)
    version = platform.registry.version(SPEC.name, made.version)
    proof = platform.registry.proof_path(version)
    assert file_hash(proof) != file_hash(platform.registry.onnx_path(version))
    outcome = judge(platform, made.version)
    assert {"rule": "refit answers as its proof", "passed": True}.items() <= {
        key: row[key] for row in outcome.table if row["rule"].startswith("refit") for key in ("rule", "passed")
    }.items()
    proof.write_bytes(proof.read_bytes() + b"more")
    assert "the proof of version" in judge(platform, made.version).summary


def test_the_champion_s_recipe_on_newer_rows_must_only_not_be_worse(platform):
    told = {"recipe": "the same", "as_of": "2013-05-01T00:00:00+00:00"}
    first = train(platform, tags=told)
    judge(platform, first.version)
    platform.registry.set_aliases(SPEC.name, {"champion": first.version})
    again = train(platform, tags=told)
    outcome = judge(platform, again.version)
    assert outcome.passed, outcome.summary
    assert "no worse than the champion" in {row["rule"] for row in outcome.table}
    other = train(platform, tags={**told, "recipe": "another"})
    assert "better than the champion" in broken(judge(platform, other.version))
