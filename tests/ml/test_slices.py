import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from ml.slices import slices
from ml.task import Binary

RANDOM = np.random.default_rng(3)


def test_slices_are_measured_largest_first_and_small_ones_left_out():
    label = RANDOM.integers(0, 2, 1000)
    rows = pl.DataFrame(
        {
            "origin": ["JFK"] * 600 + ["EWR"] * 395 + ["LGA"] * 5,
            "label": label,
            "answer": 1 / (1 + np.exp(-label - RANDOM.normal(size=1000))),
        }
    )
    found = slices(rows, "origin", Binary())
    assert found["value"].to_list() == ["JFK", "EWR"]
    assert found["roc_auc"][0] == pytest.approx(roc_auc_score(label[:600], rows["answer"][:600]))
