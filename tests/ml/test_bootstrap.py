import time

import numpy as np
import pytest

from ml.bootstrap import compare, interval
from ml.evaluation import RankedScores, roc_auc

RANDOM = np.random.default_rng(3)


def _model(label: np.ndarray, strength: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=len(label))
    return 1 / (1 + np.exp(-(strength * label + noise - 2)))


def _compare(label, champion, challenger, **how):
    return compare(RankedScores(label, champion), RankedScores(label, challenger), len(label), **how)


def test_a_better_model_is_better_beyond_noise_and_the_same_model_is_not():
    label = (RANDOM.random(4000) < 0.2).astype(int)
    weak, strong = _model(label, 0.8, 1), _model(label, 1.6, 1)
    better = _compare(label, weak, strong)
    assert better.low > 0
    assert better.p_not_better < 0.01
    assert better.difference == pytest.approx(roc_auc(label, strong) - roc_auc(label, weak))
    same = _compare(label, weak, weak)
    assert (same.low, same.high, same.p_not_better) == (0.0, 0.0, 1.0)
    assert _compare(label, strong, weak).high < 0


def test_the_bootstrap_repeats_itself_and_covers_the_spread_of_fresh_samples():
    def difference(seed):
        label = (np.random.default_rng(seed).random(1500) < 0.3).astype(int)
        return _compare(label, _model(label, 0.8, seed + 1), _model(label, 1.0, seed + 2), resamples=200)

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
    alone, together = _compare(label, first, second), _compare(label, first, second, groups=days)
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_three_hundred_resamples_of_eighty_thousand_rows_take_seconds():
    label = (RANDOM.random(80_000) < 0.15).astype(int)
    started = time.process_time()
    _compare(label, _model(label, 1.0, 1), _model(label, 1.1, 2))
    assert time.process_time() - started < 8


def test_the_interval_of_a_score_covers_the_spread_of_fresh_samples():
    def score(seed):
        label = (np.random.default_rng(seed).random(1500) < 0.3).astype(int)
        return interval(RankedScores(label, _model(label, 0.8, seed + 1)), len(label), resamples=200)

    first = score(0)
    assert first.low < first.value < first.high
    spread = np.std([score(seed).value for seed in range(0, 80, 2)])
    assert (first.high - first.low) / (2 * 1.96) == pytest.approx(spread, rel=0.35)


def test_resamples_of_one_class_are_left_out_and_too_many_of_them_refused():
    label = np.array([1.0] + [0.0] * 9)
    assert interval(RankedScores(label, np.arange(10.0)), 10).value == 0.0
    with pytest.raises(ValueError, match="no resample has a score"):
        interval(RankedScores(np.zeros(10), np.arange(10.0)), 10)
