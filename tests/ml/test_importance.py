import numpy as np
import polars as pl
import pytest
import torch

from ml.export import export
from ml.importance import permutation_importance
from ml.split import split_rows
from ml.training import fit
from tests.ml.synthetic import SPEC, training_rows


@pytest.fixture(scope="module")
def answering(tmp_path_factory):
    """A graph whose label follows the time on the ground, and the rows that it was held out on."""
    rows = training_rows()
    waited = (rows["departure"] - rows["plane__landed_at"]).fill_null(40_000).to_numpy()
    late = np.random.default_rng(3).random(rows.height) < 1 / (1 + np.exp((waited - 40_000) / 6_000))
    parts = split_rows(SPEC, rows.with_columns(pl.Series("late", late.astype(np.int64))))
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    export(fit(SPEC, parts.train, parts.validation, torch.device("cpu")), path)
    return path, parts.test


def test_what_the_label_follows_carries_the_score_and_what_it_does_not_carries_nothing(answering):
    found = permutation_importance(SPEC, *answering)
    assert found["feature"][0] == "plane__landed_at"
    assert found["share"][0] > 0.8
    others = found.filter(pl.col("feature") != "plane__landed_at")
    assert others["share"].abs().max() < 0.15


def test_an_instant_counts_by_the_time_from_it_and_what_it_is_measured_to_is_left_out(answering):
    path, rows = answering
    found = permutation_importance(SPEC, path, rows)
    assert "departure" not in found["feature"]
    later = rows.with_columns(pl.col("plane__landed_at") + 10**6, pl.col("departure") + 10**6)
    moved = permutation_importance(SPEC, path, later)
    assert moved["share"][0] == pytest.approx(found["share"][0], abs=1e-6)
