"""Lineage goes on where no SQL is: through publishing and the training set to what a model reads."""

import pytest

from ml.column_graph import ColumnGraph
from ml.column_texts import text_of
from ml.feature_views import FeatureView
from ml.line_columns import link_line, model_columns
from ml.models.flight_delay import FLIGHT_DELAY
from ml.packed import Field

VIEW = FeatureView(
    name="bus_state",
    entities=("bus",),
    join_keys=("bus",),
    join_key_kinds=("string",),
    ttl=None,
    owner="team:buses",
    online=True,
    description="The last stop of each bus.",
    fields=(Field("delay", "float"),),
)
RAW = {"raw/stops": ("bus", "late", "event_timestamp", "created_timestamp")}
STATE = "select bus, late * 60 as delay, event_timestamp, created_timestamp from raw.stops"
TRIPS = "select bus, event_timestamp as asked_at, event_timestamp as known_at, late > 5 as was_late from raw.stops"
SPEC = FLIGHT_DELAY.model_copy(
    update={
        "name": "bus_late",
        "features": ("bus_state:delay",),
        "request": (),
        "outcome": FLIGHT_DELAY.outcome.model_copy(
            update={
                "table": "trips",
                "row_id": "bus",
                "label": "was_late",
                "label_timestamp": "known_at",
                "prediction_time": "asked_at",
                "auxiliary": (),
            }
        ),
    }
)


def linked(state=STATE):
    return link_line(ColumnGraph(RAW, {"features/bus_state": state, "features/trips": TRIPS}), [VIEW], [SPEC])


def test_a_models_input_is_followed_to_the_raw_column_that_it_is_computed_from():
    graph = linked()
    assert graph.raw_columns(("bus_late/model", "bus_state__delay")) == (("raw/stops", "late"),)
    assert graph.raw_columns(("bus_late/training_set", "was_late")) == (("raw/stops", "late"),)
    assert model_columns(SPEC) == ("bus_state__delay",)


def test_a_raw_column_is_followed_to_every_input_of_a_model():
    touched = linked().touched(("raw/stops", "late"))
    assert ("bus_late/model", "bus_state__delay") in touched.values
    assert ("raw/stops", "event_timestamp") in linked().row_columns("bus_late/training_set")


def test_what_stands_on_sql_that_cannot_be_read_is_told_and_not_invented():
    graph = linked("select no_such_column from raw.stops")
    assert set(graph.failed) == {
        "features/bus_state",
        "published/bus_state",
        "bus_late/training_set",
        "bus_late/model",
    }
    assert "features/bus_state" in graph.failed["published/bus_state"]
    assert "bus_late/training_set" not in graph.columns
    assert graph.raw_columns(("published/trips", "was_late")) == (("raw/stops", "late"),)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (("bus_late/model", "bus_state__delay"), "Delay in seconds."),
        (("published/bus_state", "bus"), "Number of the bus."),
        (("features/bus_state", "event_timestamp"), ""),
    ],
)
def test_a_copied_column_means_what_the_copied_one_does(column, text):
    texts = {("features/bus_state", "delay"): "Delay in seconds.", ("raw/stops", "bus"): "Number of the bus."}
    assert text_of(linked(), texts, column) == text
