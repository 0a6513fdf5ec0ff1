"""What the checks of batch scores hold up, and what they let pass."""

import numpy as np
import polars as pl
import pytest

from checks.scores import check_agreement, check_complete

IDS = [f"row-{n}" for n in range(6)]
ASKED = pl.DataFrame({"row_id": IDS}).lazy()


def scores(values, decided=None, output="probability", version="1"):
    count = len(values)
    return pl.DataFrame(
        {
            "row_id": IDS[:count],
            output: pl.Series(values, dtype=pl.Float32),
            "decision": pl.Series(decided or [None] * count, dtype=pl.Boolean),
            "model_version": [version] * count,
            "onnx_sha256": ["ab" * 32] * count,
        }
    )


SOUND = scores([0.1, 0.9, 0.0, 1.0, 0.5, 0.25], [False, True, False, True, True, False])


def test_sound_scores_pass_with_a_threshold_and_without():
    outcome = check_complete(SOUND.lazy(), ASKED, "probability", 0.5)
    assert outcome.passed
    assert outcome.summary == "6 scores of 6 rows, mean 0.4583"
    undecided = SOUND.with_columns(decision=pl.lit(None, pl.Boolean))
    assert check_complete(undecided.lazy(), ASKED, "probability", None).passed


def test_a_regressions_values_may_be_any_finite_number():
    values = scores([-12.0, 300.0, 0.0, 1.0, 5.0, 2.0], output="value")
    assert check_complete(values.lazy(), ASKED, "value", None).passed
    outcome = check_complete(scores([1.0] * 5 + [float("inf")], output="value").lazy(), ASKED, "value", None)
    assert outcome.summary.startswith("score is infinite: 1")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda rows: rows.head(5), "scores too many or too few: 1; rows without a score: 1"),
        (
            lambda rows: pl.concat([rows.head(5), rows.head(1)]),
            "rows without a score: 1; rows scored more than once: 1",
        ),
        (lambda rows: rows.with_columns(row_id=pl.col("row_id") + "?"), "rows without a score: 6"),
        (lambda rows: rows.with_columns(probability=pl.lit(float("nan"), pl.Float32)), "score is null or NaN: 6"),
        (lambda rows: rows.with_columns(probability=pl.lit(None, pl.Float32)), "score is null or NaN: 6"),
        (lambda rows: rows.with_columns(pl.col("probability") * 2), "score is outside 0 to 1: 2"),
        (lambda rows: rows.with_columns(~pl.col("decision")), "decision is not the threshold's: 6"),
        (
            lambda rows: pl.concat([rows.head(5), scores([0.25] * 6, [False] * 6, version="2").tail(1)]),
            "versions besides",
        ),
    ],
)
def test_what_is_wrong_with_scores_is_named_and_counted(change, problem):
    outcome = check_complete(change(SOUND).lazy(), ASKED, "probability", 0.5)
    assert not outcome.passed
    assert problem in outcome.summary


def test_a_month_without_rows_is_not_complete():
    assert not check_complete(SOUND.head(0).lazy(), ASKED.head(0), "probability", 0.5).passed


def test_one_bit_of_difference_from_the_training_set_is_a_difference():
    learned, again = pl.DataFrame({"row_id": IDS[1:4]}), SOUND["probability"].to_numpy()[1:4]
    assert check_agreement(SOUND.lazy(), learned, again, "row_id", "probability").passed
    nudged = np.array([np.nextafter(again[0], np.float32(0)), *again[1:]], dtype=np.float32)
    outcome = check_agreement(SOUND.lazy(), learned, nudged, "row_id", "probability")
    assert not outcome.passed
    assert outcome.failing["row_id"].to_list() == ["row-1"]
    missing = check_agreement(SOUND.head(2).lazy(), learned, again, "row_id", "probability")
    assert "2 have no score" in missing.summary
    assert check_agreement(SOUND.lazy(), learned.head(0), again[:0], "row_id", "probability").passed
