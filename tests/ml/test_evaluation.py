import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ml.evaluation import calibration_error, evaluate_binary, evaluate_regression, roc_auc

RANDOM = np.random.default_rng(3)


def test_auc_equals_scikit_learn_also_with_ties():
    label = RANDOM.integers(0, 2, 5000)
    score = np.round(RANDOM.random(5000) + 0.2 * label, 1)
    assert roc_auc(label, score) == pytest.approx(roc_auc_score(label, score), abs=1e-12)


def test_auc_counts_pairs_by_hand():
    # positives 0.8, 0.4; negatives 0.1, 0.4: won 3 of 4 pairs and tied one
    assert roc_auc([1, 1, 0, 0], [0.8, 0.4, 0.1, 0.4]) == pytest.approx(3.5 / 4)


def test_calibration_error_by_hand():
    # two bins of equal mass: (0.1, 0.2) with one late of two, (0.6, 0.9) with both late
    # |0.5 - 0.15| * 1/2 + |1.0 - 0.75| * 1/2 = 0.3
    assert calibration_error([1, 1, 0, 1], [0.2, 0.9, 0.1, 0.6], bins=2) == pytest.approx(0.3)


def test_metrics_by_hand():
    found = evaluate_binary([0, 1], [0.2, 0.6])
    assert found.brier == pytest.approx((0.04 + 0.16) / 2)
    assert found.log_loss == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    assert (found.roc_auc, found.pr_auc, found.rows, found.positive_share) == (1.0, 1.0, 2, 0.5)
    assert found.as_dict("test_")["test_roc_auc"] == 1.0


@pytest.mark.parametrize(
    ("label", "probability", "message"),
    [
        ([1, 1], [0.2, 0.3], "both classes"),
        ([0, 1], [0.2, float("nan")], r"in \[0, 1\]"),
        ([0, 2], [0.2, 0.3], "0 or 1"),
        ([0, 1], [0.2], "same N"),
        ([], [], "N > 0"),
    ],
)
def test_what_cannot_be_measured_is_refused(label, probability, message):
    with pytest.raises(ValueError, match=message):
        evaluate_binary(label, probability)


def test_regression_metrics_by_hand():
    # errors 1, 0, -2 about a mean of 4: squared 5, total 8
    found = evaluate_regression([2, 4, 6], [3, 4, 4])
    assert found.r2 == pytest.approx(1 - 5 / 8)
    assert (found.rmse, found.mae) == (pytest.approx(np.sqrt(5 / 3)), pytest.approx(1.0))
    assert (found.mean_label, found.mean_value, found.rows) == (4, pytest.approx(11 / 3), 3)
    assert found.score == found.r2


def test_a_regressions_calibration_error_has_no_unit():
    minutes, values = RANDOM.normal(size=500), RANDOM.normal(size=500)
    assert evaluate_regression(minutes, values).calibration_error == pytest.approx(
        evaluate_regression(60 * minutes, 60 * values).calibration_error
    )


@pytest.mark.parametrize(
    ("label", "value", "message"),
    [
        ([1, 1], [0.2, 0.3], "labels that differ"),
        ([0, 1], [0.2, float("nan")], "values must be finite"),
        ([0, float("inf")], [0.2, 0.3], "labels must be finite"),
        ([0, 1], [0.2], "same N"),
    ],
)
def test_values_that_cannot_be_measured_are_refused(label, value, message):
    with pytest.raises(ValueError, match=message):
        evaluate_regression(label, value)
