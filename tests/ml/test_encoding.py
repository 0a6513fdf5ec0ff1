import numpy as np
import polars as pl
import pytest

from ml.encoding import Encoding, learn_encoding, to_arrays
from tests.ml.synthetic import SPEC, training_rows

ROWS = training_rows(count=1000)


def test_rare_and_unseen_categories_share_unknown_and_missing_is_its_own():
    rare = ROWS.with_columns(pl.Series("carrier", ["rare"] * 4 + ["common"] * 996))
    encoding = learn_encoding(SPEC, rare)
    asked = ROWS.head(5).with_columns(pl.Series("carrier", ["common", "rare", "never seen", "", None]))
    at = [entry.column for entry in encoding.categorical].index("carrier")
    assert to_arrays(encoding, asked).categorical[:, at].tolist() == [2, 1, 1, 0, 0]


def test_inputs_follow_the_spec_and_the_column_types():
    found = {entry.name: entry.kind for entry in learn_encoding(SPEC, ROWS).inputs}
    assert found == {
        "plane__delay": "numeric",
        "plane__landed_at": "time",
        "plane__last_dest": "categorical",
        "weather__gust": "numeric",
        "carrier": "categorical",
        "distance": "numeric",
        "departure": "time",
        "departure_local": "time",
    }


def test_scales_ignore_missing_values_and_clip_outliers():
    values = np.arange(1000.0)
    values[-1] = 1e9
    rows = ROWS.with_columns(pl.Series("distance", values).set(pl.Series(values == 0), None))
    scale = next(entry for entry in learn_encoding(SPEC, rows).numeric if entry.column == "distance")
    assert scale.mean == pytest.approx(500, abs=2)
    assert scale.knots[-1] < 1000
    assert list(scale.knots) == sorted(set(scale.knots))


def test_a_column_without_values_is_accepted_and_says_only_that_it_is_missing():
    rows = ROWS.with_columns(pl.lit(None, dtype=pl.Float64).alias("weather__gust"))
    scale = next(entry for entry in learn_encoding(SPEC, rows).numeric if entry.column == "weather__gust")
    assert (scale.mean, scale.std, scale.knots) == (0.0, 1.0, ())


def test_nothing_is_learned_from_rows_that_are_only_asked():
    encoding = learn_encoding(SPEC, ROWS)
    to_arrays(encoding, ROWS.with_columns(pl.lit("other").alias("carrier")))
    assert encoding == learn_encoding(SPEC, ROWS)


def test_an_encoding_survives_json():
    encoding = learn_encoding(SPEC, ROWS)
    assert Encoding.model_validate_json(encoding.model_dump_json()) == encoding


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match=r"'lateness' lacks \['distance'\]"):
        learn_encoding(SPEC, ROWS.drop("distance"))


def test_a_column_that_cannot_be_an_input_is_named():
    rows = ROWS.with_columns(pl.col("prediction_time").alias("weather__gust"))
    with pytest.raises(ValueError, match=r"weather__gust.*Datetime"):
        learn_encoding(SPEC, rows)
