from datetime import timedelta

import polars as pl
import pytest

from ml.split import refit_cut, split_rows
from tests.ml.synthetic import SPEC, training_rows

ASKED = SPEC.outcome.prediction_time
KNOWN = SPEC.outcome.label_timestamp
ROWS = training_rows(count=3000)


def test_rows_go_to_the_window_of_their_prediction_time():
    parts = split_rows(SPEC, ROWS)
    for part, window in ((parts.train, SPEC.split.train), (parts.validation, SPEC.split.validation)):
        assert part[ASKED].min() >= window.start
        assert part[ASKED].max() < window.end
        assert part[ASKED].is_sorted()
    counted = parts.train.height + parts.validation.height + parts.test.height + parts.late_labels
    assert counted == ROWS.height


def test_no_label_from_the_future_is_learned_from():
    in_train = (pl.col(ASKED) >= SPEC.split.train.start) & (pl.col(ASKED) < SPEC.split.train.end)
    start = SPEC.split.validation.start
    last = (
        ROWS.filter(in_train)
        .tail(2)
        .with_columns(pl.Series(KNOWN, [start, start + timedelta(microseconds=1)], dtype=pl.Datetime("us", "UTC")))
    )
    rows = pl.concat([ROWS.filter(~in_train), ROWS.filter(in_train).head(100), last])
    parts = split_rows(SPEC, rows)
    assert last["row_id"][0] in parts.train["row_id"]
    assert last["row_id"][1] not in parts.train["row_id"]
    assert parts.validation[KNOWN].max() <= SPEC.split.test.start


def test_rows_without_label_are_left_out():
    rows = ROWS.with_columns(
        pl.when(pl.col("row_id") == "row-000000").then(None).otherwise(pl.col("late")).alias("late")
    )
    assert "row-000000" not in split_rows(SPEC, rows).train["row_id"]


def test_an_empty_window_is_named():
    with pytest.raises(
        ValueError, match=r"validation window \[2013-04-01, 2013-05-01\) of model 'lateness'.*no labelled"
    ):
        split_rows(SPEC, ROWS.filter(pl.col(ASKED) < SPEC.split.validation.start))


def test_a_window_with_one_class_is_named():
    rows = ROWS.with_columns(
        pl.when(pl.col(ASKED) < SPEC.split.train.end).then(0).otherwise(pl.col("late")).alias("late")
    )
    with pytest.raises(ValueError, match=r"train window.*only the class 0"):
        split_rows(SPEC, rows)


def test_labels_other_than_0_and_1_are_refused():
    with pytest.raises(ValueError, match="labels are 0, 1 or null"):
        split_rows(SPEC, ROWS.with_columns(pl.col("late") + 1))


def test_a_refit_learns_from_all_that_was_known_before_its_validation_which_is_the_newest():
    parts, again = split_rows(SPEC, ROWS), split_rows(SPEC, ROWS, refit_cut(SPEC))
    assert again.train.height > parts.train.height
    assert again.train[KNOWN].max() <= again.validation[ASKED].min()
    assert again.validation[ASKED].max() == parts.test[ASKED].max()
    assert again.test.equals(parts.test)
