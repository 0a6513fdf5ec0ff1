import json
import subprocess

import polars as pl
import pytest
import torch

from ml import provenance
from ml.candidate import make_candidate
from ml.registry import Registry
from ml.run_facts import PARAM_LENGTH, origin, parameters, shortened
from ml.spec import Costs, ModelSpec
from tests.ml.synthetic import SPEC, training_rows

DECIDING = SPEC.model_copy(update={"costs": Costs(action="call", false_alarm=1, miss=4, unit="complaints")})
RECORDED = {"sources": {"plane": 2, "weather": 5}, "dbt_manifest": "d1ce", "git": {"commit": "abc", "dirty": False}}
PROVENANCE = {
    "training_set": "/lake/lateness/training_set",
    "training_set_version": 3,
    "training_set_hash": "c0ffee" * 10,
    **origin(RECORDED),
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    return Registry(f"sqlite:///{folder}/mlflow.db", folder / "artifacts")


@pytest.fixture(scope="module")
def twins(registry, tmp_path_factory):
    return [
        make_candidate(
            DECIDING,
            training_rows().lazy(),
            registry,
            PROVENANCE,
            torch.device("cpu"),
            tmp_path_factory.mktemp("out"),
        )
        for _ in range(2)
    ]


@pytest.fixture(scope="module")
def run(registry, twins):
    return registry.client.get_run(twins[0].run_id)


def test_the_training_set_is_the_runs_input_and_mlflow_finds_its_table(run):
    import mlflow.data

    (used,) = run.inputs.dataset_inputs
    assert {tag.key: tag.value for tag in used.tags} == {"mlflow.data.context": "training"}
    assert used.dataset.name == "lateness/training_set"
    assert used.dataset.digest == ("c0ffee" * 10)[:36]
    source = mlflow.data.get_source(used.dataset)
    assert source.path == "/lake/lateness/training_set"
    assert source.delta_table_version == 3
    profile = json.loads(used.dataset.profile)
    assert profile["num_rows"] == training_rows().height
    assert profile["content_hash"] == "c0ffee" * 10
    columns = {column["name"]: column for column in json.loads(used.dataset.schema)["mlflow_colspec"]}
    assert set(columns) == set(training_rows().columns)
    assert columns["late"]["role"] == "label"
    assert columns["plane__delay"]["role"] == "feature plane:delay"


def test_every_setting_of_the_spec_is_a_parameter(run):
    assert run.data.params["training.learning_rate"] == "0.01"
    assert run.data.params["network.hidden"] == "16"
    assert run.data.params["split.test.start"] == "2013-05-01T00:00:00Z"
    assert run.data.params["features"] == "plane:delay, plane:landed_at, plane:last_dest, weather:gust"
    assert run.data.params["request"].startswith("carrier categorical, distance numeric")
    assert run.data.params["costs.miss"] == "4.0"
    assert run.data.params["serving.slo.p99_ms"] == "50.0"
    assert run.data.params["task"] == "binary"
    parts = {name.partition(".")[0] for name in parameters(DECIDING)}
    assert {"outcome", "gates", "slices", "limits", "owner"} <= parts
    assert parts == set(ModelSpec.model_fields)


def test_the_spec_and_the_graph_are_kept_whole(registry, twins):
    version = registry.version("lateness", twins[0].version)
    assert ModelSpec.model_validate_json(registry.artifact(version, "spec.json").read_text()) == DECIDING
    model = registry.onnx_path(version).parent
    described = (model / "MLmodel").read_text()
    assert "signature" in described
    assert "input_example" in described
    assert (model / "serving_input_example.json").exists()


def test_sources_are_read_one_by_one(registry, twins, run):
    for tags in (run.data.tags, registry.version("lateness", twins[0].version).tags):
        assert tags["published/plane"] == "2"
        assert tags["published/weather"] == "5"
        assert tags["dbt_manifest"] == "d1ce"
        assert tags["training_set_git_commit"] == "abc"


def test_the_same_seed_data_and_machine_give_the_same_metrics_and_answers(registry, twins):
    first, second = (registry.version("lateness", candidate.version) for candidate in twins)
    names = {name for name in first.metrics if name != "fit_seconds"}
    assert len(names) > 30
    assert {n: first.metrics[n] for n in names} == {n: second.metrics[n] for n in names}
    answers = [pl.read_parquet(registry.artifact(version, "test_predictions.parquet")) for version in (first, second)]
    assert answers[0].equals(answers[1])
    shown = [candidate.card.markdown.replace(candidate.run_id, "") for candidate in twins]
    assert shown[0] == shown[1]
    assert twins[0].card.pictures == twins[1].card.pictures


def test_a_long_value_is_cut_at_a_word_and_says_what_is_gone():
    text = ", ".join(f"view:feature_{n}" for n in range(1000))
    found = shortened(text)
    assert len(found) <= PARAM_LENGTH
    kept, _, rest = found.partition(" ... (")
    assert text.startswith(kept + ", ")
    assert rest == f"{len(text) - len(kept):,} more characters in spec.json)"
    assert shortened("short") == "short"
    assert len(shortened("x" * 9000)) <= PARAM_LENGTH


@pytest.fixture
def checkout(tmp_path):
    def git(*words):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], cwd=tmp_path, check=True)

    (tmp_path / "ml").mkdir()
    (tmp_path / "ml" / "a.py").write_text("one = 1\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    return tmp_path


def test_a_clean_checkout_has_no_changes_and_no_checkout_neither(checkout, tmp_path_factory):
    assert provenance.uncommitted(checkout) is None
    assert provenance.uncommitted(tmp_path_factory.mktemp("bare")) is None


def test_uncommitted_changes_are_kept_and_new_files_of_the_model_are_named_not_shown(checkout):
    (checkout / "ml" / "a.py").write_text("one = 2\n")
    (checkout / "ml" / "new.py").write_text("secret = 'x'\n")
    (checkout / "notes.txt").write_text("mine\n")
    found = provenance.uncommitted(checkout)
    assert "-one = 1\n+one = 2\n" in found
    assert found.endswith("# new, not committed: ml/new.py\n")
    assert "secret" not in found
    assert "notes" not in found


def test_a_huge_change_is_cut_and_counted(checkout):
    (checkout / "ml" / "a.py").write_text("x\n" * 2_000_000)
    found = provenance.uncommitted(checkout)
    assert len(found) < provenance.DIFF_BYTES + 100
    assert "more bytes of changes" in found.splitlines()[-1]


def test_versions_name_what_numbers_come_from():
    assert provenance.versions()["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"python", "onnxruntime", "mlflow"} <= set(provenance.versions())


def test_an_image_knows_the_commit_that_it_was_built_from(tmp_path):
    assert provenance.git_commit(tmp_path) == {"commit": "unknown", "dirty": False}
    (tmp_path / provenance.BUILT_FROM).write_text("0123abc\n")
    assert provenance.git_commit(tmp_path) == {"commit": "0123abc", "dirty": False}
