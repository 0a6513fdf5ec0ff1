import numpy as np
import polars as pl
import pytest
import torch

from ml.export import TOLERANCE, export, verify
from ml.scoring import open_session, score
from ml.spec import ModelSpec
from ml.split import split_rows
from ml.task import Binary, Regression, task_of
from ml.training import fit
from tests.ml.synthetic import SPEC, training_rows

MINUTES = ModelSpec.model_validate(
    {**SPEC.model_dump(), "task": "regression", "training": {**SPEC.training.model_dump(), "shift_kept": 1.0}}
)


def minutes_late(seed: int = 1) -> pl.DataFrame:
    """The synthetic rows, with a label in minutes that their first number decides but for noise."""
    rows = training_rows(count=4000, seed=seed)
    noise = pl.Series(np.random.default_rng(seed).normal(scale=10, size=rows.height))
    return rows.with_columns((25 * pl.col("plane__delay").fill_null(0.0) + 40 + noise).alias("late"))


@pytest.fixture(scope="module")
def fitted():
    parts = split_rows(MINUTES, minutes_late())
    return fit(MINUTES, parts.train, parts.validation, torch.device("cpu")), parts


def test_a_regression_learns_values_in_the_unit_of_its_label(fitted):
    model, parts = fitted
    found = Regression().evaluate(parts.test["late"], model.predict(parts.test))
    assert found.r2 > 0.6
    assert found.mean_value == pytest.approx(found.mean_label, abs=3)
    assert found.calibration_error < 0.25


def test_a_regressions_graph_gives_the_same_values_under_its_own_name(fitted, tmp_path):
    model, parts = fitted
    export(model, path := tmp_path / "model.onnx")
    assert [entry.name for entry in open_session(path).get_outputs()] == ["value"]
    assert verify(model, path, parts.test.head(500)) <= TOLERANCE
    assert score(path, parts.test).max() > 60


def test_the_same_label_in_seconds_gives_the_same_model_but_for_the_unit(fitted):
    model, parts = fitted
    seconds = [rows.with_columns(pl.col("late") * 60) for rows in (parts.train, parts.validation)]
    other = fit(MINUTES, *seconds, torch.device("cpu"))
    np.testing.assert_allclose(other.predict(parts.test) / 60, model.predict(parts.test), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        (Binary(), [0, 1, 2], r"has labels \[2\]"),
        (Binary(), [1, 1], "only the class 1"),
        (Regression(), [3.0, 3.0], "only the label 3.0"),
        (Regression(), [1.0, float("inf")], "1 labels that are not finite"),
        (Regression(), ["a", "b"], "of type String"),
    ],
)
def test_labels_that_cannot_be_learned_are_named(task, labels, message):
    problem = task.label_problem(pl.Series(labels))
    assert problem is not None
    assert pl.Series([problem]).str.contains(message)[0]


def test_labels_that_can_be_learned_are_let_through():
    assert Binary().label_problem(pl.Series([0, 1, 1])) is None
    assert Regression().label_problem(pl.Series([-3, 1, 400])) is None


def test_a_spec_says_its_task():
    assert isinstance(task_of(SPEC), Binary)
    assert isinstance(task_of(MINUTES), Regression)
