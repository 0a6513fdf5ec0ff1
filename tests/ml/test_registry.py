import numpy as np
import pytest
import torch

from ml.export import export
from ml.registry import Registry
from ml.scoring import example_feed, score
from ml.split import split_rows
from ml.training import fit
from tests.ml.synthetic import SPEC, training_rows

ROWS = training_rows(count=1500)


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    parts = split_rows(SPEC, ROWS)
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    export(fit(SPEC, parts.train, parts.validation, torch.device("cpu")), path)
    return path


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    return Registry(f"sqlite:///{folder}/state/mlflow.db", folder / "artifacts")


@pytest.fixture
def register(registry, onnx_file):
    def one(name: str, **tags):
        with registry.recording(name, {"git_commit": "abc"}) as run:
            run.params({"training.epochs": 3})
            run.metrics({"test_roc_auc": 0.75})
            return run.register(onnx_file, example_feed(onnx_file, ROWS, 2), tags)

    return one


def test_a_version_bears_its_provenance_metrics_and_the_very_file(registry, register, onnx_file):
    number = register("whole", training_set_version=4)
    found = registry.version("whole", number)
    assert (found.version, found.training_set_version, found.aliases) == ("1", 4, ())
    assert found.metrics == {"test_roc_auc": 0.75}
    path = registry.onnx_path(found)
    assert path.read_bytes() == onnx_file.read_bytes()
    assert registry.artifact_root in path.parents
    run = registry.client.get_run(found.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["git_commit"] == "abc"
    assert run.data.params == {"training.epochs": "3"}


def test_mlflow_itself_can_load_and_ask_the_model(registry, register):
    import mlflow.pyfunc

    folder = registry.onnx_path(registry.version("asked", register("asked"))).parent
    loaded = mlflow.pyfunc.load_model(str(folder))
    assert loaded.metadata.signature.inputs.input_names() == [
        *(name.replace(":", "__") for name in SPEC.features),
        *(field.name for field in SPEC.request),
    ]
    asked = {
        name: values.astype(str) if values.dtype == object else values
        for name, values in example_feed(folder / "model.onnx", ROWS, 2).items()
    }
    found = loaded.predict(asked)["probability"]
    np.testing.assert_allclose(np.ravel(found), score(folder / "model.onnx", ROWS.head(2)), atol=1e-6)


def test_aliases_are_given_moved_and_taken_away_together_or_not_at_all(registry, register):
    first, second = register("raced"), register("raced")
    assert registry.champion("raced") is None
    registry.set_aliases("raced", {"champion": first, "challenger": second})
    assert registry.version("raced", second).aliases == ("challenger",)
    registry.set_aliases("raced", {"champion": second, "previous": first, "challenger": None})
    assert registry.aliases("raced") == {"champion": second, "previous": first}
    assert registry.champion("raced").version == second
    with pytest.raises(LookupError, match="no version 9"):
        registry.set_aliases("raced", {"champion": first, "challenger": "9"})
    registry.challenge("raced", first)
    assert registry.aliases("raced") == {"champion": second, "previous": first, "challenger": first}
    assert registry.newest("raced").version == second
    assert [entry.version for entry in registry.versions("raced")] == [second, first]


def test_a_run_that_fails_registers_nothing_and_says_so(registry, onnx_file, monkeypatch):
    monkeypatch.setattr("ml.recording._save_flavour", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError), registry.recording("broken") as run:
        run.register(onnx_file, {})
    assert registry.client.get_run(run.run_id).info.status == "FAILED"
    assert registry.versions("broken") == ()


def test_an_interrupted_run_is_marked_killed(registry):
    with pytest.raises(SystemExit), registry.recording("stopped") as run:
        raise SystemExit(143)
    assert registry.client.get_run(run.run_id).info.status == "KILLED"


def test_what_is_missing_is_named_with_the_remedy(registry, register):
    with pytest.raises(LookupError, match=r"no version of model 'nothing'.*materialize nothing/model"):
        registry.newest("nothing")
    found = registry.version("named", register("named"))
    with pytest.raises(LookupError, match=r"no version 9 of model 'named'.*it has 1"):
        registry.challenge("named", "9")
    with pytest.raises(LookupError, match=r"lacks .*predictions.parquet"):
        registry.artifact(found, "predictions.parquet")
    with pytest.raises(LookupError, match="no tag 'training_set_version'"):
        _ = found.training_set_version
    registry.onnx_path(found).unlink()
    with pytest.raises(LookupError, match=r"lacks .*restore it or train again"):
        registry.onnx_path(found)


def test_asking_an_empty_home_for_its_champion_creates_no_database(tmp_path):
    registry = Registry(f"sqlite:///{tmp_path}/mlflow/mlflow.db", tmp_path / "artifacts")
    assert registry.champion("lateness") is None
    assert registry.versions("lateness") == ()
    with pytest.raises(LookupError, match="no version 1"):
        registry.version("lateness", "1")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_database_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "mlflow.db").write_bytes(b"no database " * 100)
    with pytest.raises(LookupError, match=r"cannot be opened.*restore"):
        Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts").champion("lateness")
