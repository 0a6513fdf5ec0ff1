import subprocess
import sys
from datetime import timedelta

import polars as pl
import pytest

from ml.fingerprint import content_hash
from ml.models.flight_delay import FLIGHT_DELAY
from ml.spec import ModelSpec, Outcome, RequestField
from ml.training_set import build_training_set
from tests.ml.small_store import SmallStore, gauge, hour

SPEC = ModelSpec(
    name="flood",
    description="Probability that a gauge floods within the day.",
    owner="team:hydrology",
    outcome=Outcome(table="flood_outcomes", row_id="case", label="flooded", label_timestamp="label_timestamp"),
    features=("gauge_state:level", "gauge_state:river"),
    request=(RequestField(name="rain", kind="numeric"),),
    split=FLIGHT_DELAY.split,
    gates=FLIGHT_DELAY.gates,
)


@pytest.fixture
def store(tmp_path):
    small = SmallStore(tmp_path)
    small.publish(gauge("a", 0, 0, 1.0), gauge("a", 4, 4, 3.0), gauge("a", 0, 2, 2.0))
    return small.open()


def outcomes(*rows):
    """Outcomes as (case, gauge, prediction hour, label)."""
    frame = pl.DataFrame(
        [(case, gauge_id, hour(at), label, 0.5) for case, gauge_id, at, label in rows],
        schema={
            "case": pl.String,
            "gauge_id": pl.String,
            "prediction_time": pl.Datetime("us", "UTC"),
            "flooded": pl.Int64,
            "rain": pl.Float64,
        },
        orient="row",
    )
    known = pl.when(pl.col("flooded").is_not_null()).then(pl.col("prediction_time") + timedelta(days=1))
    return frame.with_columns(known.alias("label_timestamp"), partition_key=pl.lit("2013-07"))


@pytest.mark.parametrize(
    ("reference", "said"), [("gauge_state:tide", "tide.*gauge_state"), ("harbour_state:level", "harbour_state")]
)
def test_an_unknown_feature_or_view_names_itself_the_model_and_the_remedy(store, reference, said):
    spec = SPEC.model_copy(update={"features": ("gauge_state:river", reference)})
    with pytest.raises(LookupError, match=rf"model 'flood' reads a feature.*{said}.*ml/models/flood.py"):
        build_training_set(spec, outcomes(("z", "a", 5, 1)), store)


def test_labelled_rows_get_what_was_known_when_asked_in_order_of_prediction_time(store):
    rows = build_training_set(
        SPEC, outcomes(("z", "a", 5, 1), ("y", "a", 1, 0), ("x", None, 1, 1), ("w", "a", 2, None)), store
    )
    assert rows.columns == [
        "case",
        "gauge_id",
        "rain",
        "prediction_time",
        "flooded",
        "label_timestamp",
        "gauge_state__level",
        "gauge_state__river",
    ]
    assert rows.select("case", "flooded", "gauge_state__level", "gauge_state__river").rows() == [
        ("x", 1, None, None),
        ("y", 0, 1.0, "river 1"),
        ("z", 1, 3.0, "river 3"),
    ]


def test_a_missing_column_a_doubled_row_and_an_undated_label_are_refused(store):
    good = outcomes(("x", "a", 1, 1))
    with pytest.raises(ValueError, match="no column \\['rain'\\]"):
        build_training_set(SPEC, good.drop("rain"), store)
    with pytest.raises(ValueError, match="'x' more than once"):
        build_training_set(SPEC, pl.concat([good, good]), store)
    with pytest.raises(ValueError, match="1 labels without 'label_timestamp', such as row 'x'"):
        build_training_set(SPEC, good.with_columns(label_timestamp=pl.lit(None, pl.Datetime("us", "UTC"))), store)


def test_the_same_inputs_in_any_order_give_the_same_content(store):
    rows = outcomes(("z", "a", 5, 1), ("y", "a", 1, 0), ("x", None, 1, 1))
    one, other = build_training_set(SPEC, rows, store), build_training_set(SPEC, rows.reverse(), store)
    assert content_hash(one) == content_hash(other)
    assert content_hash(one) != content_hash(one.with_columns(rain=pl.lit(0.25)))


def test_content_has_the_same_hash_in_another_process():
    text = "pl.DataFrame({'a': [1.5, None], 'b': ['x', None], 'c': [True, False]})"
    script = f"import polars as pl; from ml.fingerprint import content_hash; print(content_hash({text}))"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    assert other == content_hash(pl.DataFrame({"a": [1.5, None], "b": ["x", None], "c": [True, False]}))
