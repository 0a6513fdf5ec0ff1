"""Whoever did not write the check learns from its words alone what moved, and by how much."""

import numpy as np
import polars as pl
import pytest

from checks.drift_bounds import breaches
from checks.drift_causes import cause
from checks.drift_profile import profile_of
from checks.drift_statistics import compare
from tests.checks.drift_world import BOUNDS

N = 5000
RANDOM = np.random.default_rng(5)
NORMAL, SKEWED = RANDOM.normal(4, 1, N), RANDOM.exponential(10, N)
NAMES = RANDOM.choice(list("ABC"), N, p=[0.5, 0.3, 0.2])
FIRST = np.arange(N) < 0.12 * N

CAUSES = {
    "nulls up": (NORMAL, pl.Series(NORMAL).set(pl.Series(FIRST), None), "missing values up from 0.0% to 12.0% of rows"),
    "nulls down": (pl.Series(NORMAL).set(pl.Series(FIRST), None), NORMAL, "missing values down from 12.0% to 0.0%"),
    "new category": (NAMES, np.where(FIRST, "X", NAMES), "new: 'X' 12.0%"),
    "category gone": (NAMES, np.where(NAMES == "C", "A", NAMES), "gone: 'C' "),
    "shares": (NAMES, np.where(NAMES == "A", "C", np.where(NAMES == "C", "A", NAMES)), "shares moved: 'A' "),
    "shifted": (NORMAL, NORMAL + 5.6, "whole distribution shifted by +5.6 (mean 4"),
    "another unit": (SKEWED, SKEWED * 1.609, "all values times 1.609 (mean 1"),
    "signs": (SKEWED, -SKEWED, "signs flipped"),
    "spread": (NORMAL, 4 + (NORMAL - 4) * 3, "spread grew 3 times about the same mean"),
    "stuck": (NORMAL, np.full(N, 7.5), "the value 7.5 is 100.0% of the values, was 0.0%"),
    "default filled in": (NORMAL, np.where(np.arange(N) < 0.4 * N, -1, NORMAL), "the value -1 is 40.0% of the values"),
    "shape": (NORMAL, np.where(NORMAL > 4, NORMAL * 3, NORMAL), "values are higher throughout: "),
    "type": (NORMAL, pl.Series(NORMAL).cast(pl.String), "type changed: numbers in the reference, names now"),
    "began": (pl.Series([None] * N, dtype=pl.Float64), NORMAL, "100.0% of rows have a value; none of the reference's"),
    "few numbers": (RANDOM.integers(1, 4, N), RANDOM.integers(2, 5, N), "gone"),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_cause_of_a_drift_is_named(name):
    *sides, words = CAUSES[name]
    old, new = (profile_of(pl.Series("speed", side)) for side in sides)
    found = compare(old, new)
    broken = {breach.statistic for breach in breaches(found, BOUNDS)}
    assert broken
    assert words in cause(old, new, found, broken)
