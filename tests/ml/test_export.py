import json
import subprocess
from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
import torch

from ml.export import TOLERANCE, export, probe_rows, verify
from ml.scoring import example_feed, feed, open_session, score
from ml.spec import RequestField
from ml.split import split_rows
from ml.training import FittedModel, fit
from tests.ml.synthetic import SPEC, training_rows

ROWS = training_rows()
SERVING_PYTHON = Path(".venv-serving/bin/python")
ONNX_TYPES = {"numeric": "tensor(float)", "categorical": "tensor(string)", "time": "tensor(double)"}

IN_SERVING = """
import json, sys
import numpy, onnxruntime
assert numpy.__version__.startswith("1."), numpy.__version__
kinds = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(string)": object}
session = onnxruntime.InferenceSession(sys.argv[1])
columns = json.load(sys.stdin)
values = {i.name: numpy.array(columns[i.name], kinds[i.type])[:, None] for i in session.get_inputs()}
json.dump(session.run(["probability"], values)[0][:, 0].tolist(), sys.stdout)
"""


@pytest.fixture(scope="module")
def model() -> FittedModel:
    parts = split_rows(SPEC, ROWS)
    return fit(SPEC, parts.train, parts.validation, torch.device("cpu"))


@pytest.fixture(scope="module")
def file(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export(model, path)
    return path


def test_the_graph_takes_raw_values_and_gives_a_probability(model, file):
    session = open_session(file)
    assert [(i.name, i.type, i.shape[1]) for i in session.get_inputs()] == [
        (entry.name, ONNX_TYPES[entry.kind], 1) for entry in model.encoding.inputs
    ]
    (output,) = session.get_outputs()
    assert (output.name, output.type, output.shape[1]) == ("probability", "tensor(float)", 1)


def test_it_equals_torch_also_for_missing_and_unseen_values(model, file):
    asked = probe_rows(model.encoding, ROWS)
    assert asked["carrier"].null_count() > 50
    assert not set(asked["carrier"].drop_nulls()) <= {"a", "b", "c"}
    assert np.abs(score(file, asked) - model.predict(asked)).max() <= TOLERANCE
    assert verify(model, file, ROWS) <= TOLERANCE


def test_batches_of_any_size_score_alike(file):
    one_by_one = np.concatenate([score(file, ROWS[index]) for index in range(5)])
    np.testing.assert_allclose(one_by_one, score(file, ROWS)[:5], atol=1e-6)
    assert score(file, ROWS.head(0)).shape == (0,)


def test_a_file_of_another_model_is_not_passed_off_as_this_one(model, file, tmp_path):
    other = onnx.load(file)
    for tensor in other.graph.initializer:
        if tensor.name.endswith("shift"):
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(3.0, dtype=np.float32), tensor.name))
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="differs from torch"):
        verify(model, tmp_path / "other.onnx", ROWS)


def test_one_file_holds_everything_and_names_nothing_of_this_machine(file):
    assert [path.name for path in file.parent.iterdir()] == ["model.onnx"]
    assert str(Path.cwd()).encode() not in file.read_bytes()


def test_two_exports_of_one_model_are_the_same_bytes(model, file, tmp_path):
    export(model, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == file.read_bytes()


def test_a_model_without_numbers_or_without_categories_exports(tmp_path):
    fields = {"categorical": "carrier", "numeric": "distance"}
    for kind, feature in (("categorical", "plane:last_dest"), ("numeric", "weather:gust")):
        request = (RequestField(name=fields[kind], kind=kind),)
        small = SPEC.model_copy(update={"features": (feature,), "request": request, "elapsed": ()})
        parts = split_rows(small, ROWS)
        fitted = fit(small, parts.train, parts.validation, torch.device("cpu"))
        export(fitted, tmp_path / f"{kind}.onnx")
        assert verify(fitted, tmp_path / f"{kind}.onnx", ROWS) <= TOLERANCE


@pytest.mark.skipif(not SERVING_PYTHON.exists(), reason="no serving environment")
def test_the_serving_environment_gives_the_same_probabilities(model, file):
    asked = probe_rows(model.encoding, ROWS.head(200))
    types = {entry.name: entry.type for entry in open_session(file).get_inputs()}
    columns = {name: values[:, 0].tolist() for name, values in feed(types, asked).items()}
    done = subprocess.run(
        [SERVING_PYTHON, "-c", IN_SERVING, file],
        input=json.dumps(columns),
        capture_output=True,
        text=True,
        check=True,
    )
    np.testing.assert_allclose(json.loads(done.stdout), score(file, asked), atol=1e-6)


def test_rows_that_lack_an_input_are_refused_by_name(file):
    with pytest.raises(ValueError, match=r"lack \['distance'\]"):
        score(file, ROWS.drop("distance"))


def test_a_damaged_file_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(LookupError, match=r"cannot be opened.*train or register"):
        score(tmp_path / "model.onnx", ROWS)


def test_missing_values_are_fed_as_nan_and_as_the_empty_string(file):
    nothing = pl.DataFrame({name: [None] for name in ROWS.columns}, schema=ROWS.schema)
    found = example_feed(file, nothing, 1)
    assert found["carrier"].tolist() == [[""]]
    assert np.isnan(found["departure"]).all()
    assert found["departure"].dtype == np.float64
