import numpy as np
import polars as pl
import pytest

from checks.drift import Bounds, check_drift

BOUNDS = Bounds(distance=0.3, share=0.5)


def window(shift=0.0, carriers="AB", rows=4000, seed=1):
    random = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "delay": random.normal(shift, 1, rows),
            "distance": random.normal(0, 1, rows),
            "carrier": random.choice(list(carriers), rows),
            "empty": pl.Series([None] * rows, dtype=pl.Float64),
        }
    )


COLUMNS = ["delay", "distance", "carrier", "empty"]


def test_two_windows_of_the_same_world_have_not_drifted(tmp_path):
    outcome = check_drift(window(), window(seed=2), COLUMNS, BOUNDS, tmp_path / "r.html")
    assert outcome.passed
    assert "0 of 4" in outcome.summary
    assert "<html" in (tmp_path / "r.html").read_text().lower()


def test_a_shift_is_measured_in_standard_deviations_and_named(tmp_path):
    outcome = check_drift(window(), window(shift=1, seed=2), COLUMNS, Bounds(0.3, 0.2), tmp_path / "r.html")
    assert not outcome.passed
    assert outcome.evidence["distances"]["delay"] == pytest.approx(1, abs=0.1)
    assert outcome.table[0]["column"] == "delay"
    assert "delay" in outcome.summary


def test_new_categories_and_a_column_gone_empty_are_drift(tmp_path):
    new = window(carriers="CD", seed=2).with_columns(distance=pl.lit(None, pl.Float64))
    outcome = check_drift(window(), new, COLUMNS, BOUNDS, tmp_path / "r.html")
    assert not outcome.passed
    assert outcome.evidence["distances"]["distance"] == float("inf")


def test_a_window_without_rows_is_not_a_pass(tmp_path):
    outcome = check_drift(window(), window().clear(), COLUMNS, BOUNDS, tmp_path / "r.html")
    assert not outcome.passed
    assert "current window has no rows" in outcome.summary
