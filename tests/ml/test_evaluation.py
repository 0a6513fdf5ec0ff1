import time

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from ml.evaluation import calibration_error, compare, evaluate, roc_auc, slices

RANDOM = np.random.default_rng(3)


def _model(label: np.ndarray, strength: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=len(label))
    return 1 / (1 + np.exp(-(strength * label + noise - 2)))


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
    found = evaluate([0, 1], [0.2, 0.6])
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
        evaluate(label, probability)


def test_a_better_model_is_better_beyond_noise_and_the_same_model_is_not():
    label = (RANDOM.random(4000) < 0.2).astype(int)
    weak, strong = _model(label, 0.8, 1), _model(label, 1.6, 1)
    better = compare(label, weak, strong)
    assert better.low > 0
    assert better.p_not_better < 0.01
    assert better.difference == pytest.approx(roc_auc(label, strong) - roc_auc(label, weak))
    same = compare(label, weak, weak)
    assert (same.low, same.high, same.p_not_better) == (0.0, 0.0, 1.0)
    assert compare(label, strong, weak).high < 0


def test_the_bootstrap_repeats_itself_and_covers_the_spread_of_fresh_samples():
    def difference(seed):
        label = (np.random.default_rng(seed).random(1500) < 0.3).astype(int)
        return compare(label, _model(label, 0.8, seed + 1), _model(label, 1.0, seed + 2), resamples=200)

    first = difference(0)
    assert first == difference(0)
    spread = np.std([difference(seed).difference for seed in range(0, 120, 3)])
    assert (first.high - first.low) / (2 * 1.96) == pytest.approx(spread, rel=0.35)


def test_rows_that_share_a_day_are_drawn_together():
    days = np.repeat(np.arange(40), 100)
    storm = np.repeat(np.random.default_rng(5).normal(size=40), 100)
    label = (np.random.default_rng(6).random(4000) < 1 / (1 + np.exp(-storm))).astype(int)
    noise = np.random.default_rng(7).random(4000)
    first, second = noise, np.clip(noise / 2 + (storm > 0) / 2, 0, 1)
    alone, together = compare(label, first, second), compare(label, first, second, groups=days)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_three_hundred_resamples_of_eighty_thousand_rows_take_seconds():
    label = (RANDOM.random(80_000) < 0.15).astype(int)
    started = time.process_time()
    compare(label, _model(label, 1.0, 1), _model(label, 1.1, 2))
    assert time.process_time() - started < 8


def test_slices_are_measured_largest_first_and_small_ones_left_out():
    label = RANDOM.integers(0, 2, 1000)
    rows = pl.DataFrame(
        {
            "origin": ["JFK"] * 600 + ["EWR"] * 395 + ["LGA"] * 5,
            "label": label,
            "probability": _model(label, 1, 1),
        }
    )
    found = slices(rows, "origin")
    assert found["value"].to_list() == ["JFK", "EWR"]
    assert found["roc_auc"][0] == pytest.approx(roc_auc_score(label[:600], rows["probability"][:600]))
