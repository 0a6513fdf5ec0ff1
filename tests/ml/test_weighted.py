import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss

from ml.evaluation import calibration_error, evaluate_binary, evaluate_regression
from ml.task import Binary, Regression

RANDOM = np.random.default_rng(5)
PROBABILITY = RANDOM.random(1000).round(2)
LABEL = (RANDOM.random(1000) < PROBABILITY).astype(float)
WEIGHT = RANDOM.integers(0, 4, 1000).astype(float)
VALUE = RANDOM.normal(size=1000)
TRUTH = 2 * VALUE + RANDOM.normal(size=1000)


@pytest.mark.parametrize(
    ("task", "metrics", "label", "answer"),
    [(Binary(), evaluate_binary, LABEL, PROBABILITY), (Regression(), evaluate_regression, TRUTH, VALUE)],
)
def test_with_weights_of_one_they_are_the_metrics(task, metrics, label, answer):
    found = metrics(label, answer).as_dict()
    for name, scorer in task.scorers(label, answer).items():
        assert scorer(np.ones(1000)) == pytest.approx(found[name], abs=1e-9), name


def test_weights_are_those_of_scikit_learn():
    scorers = Binary().scorers(LABEL, PROBABILITY)
    for name, known in (("pr_auc", average_precision_score), ("brier", brier_score_loss), ("log_loss", log_loss)):
        assert scorers[name](WEIGHT) == pytest.approx(known(LABEL, PROBABILITY, sample_weight=WEIGHT), abs=1e-9), name


def test_calibration_error_with_weights_is_nearly_that_of_repeated_rows():
    times = WEIGHT.astype(int)
    repeated = calibration_error(np.repeat(LABEL, times), np.repeat(PROBABILITY, times))
    assert Binary().scorers(LABEL, PROBABILITY)["calibration_error"](WEIGHT) == pytest.approx(repeated, abs=0.005)
