"""A model of river gauges: what its answers were given, as logged, beside what is published."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from checks.served_parity import OfflineRows, check_served_parity, differing
from ml.feature_store import published_versions
from serving.build_plan import plan_view
from serving.log_reader import log_schema
from serving.plan import Input, Plan, RequestInput, Version
from tests.ml.small_store import GAUGES, SmallStore, gauge, hour

PUBLISHED = [gauge("a", 0, 0, 1.0), gauge("a", 4, 4, 2.5), gauge("b", 0, 0, None), gauge("c", 0, 0, 0.1)]
INPUTS = (
    Input("gauge_state__level", "numeric", "gauge_state", "level"),
    Input("gauge_state__readings", "time", "gauge_state", "readings"),
    Input("gauge_state__river", "categorical", "gauge_state", "river"),
    Input("gauge_state__alarm", "numeric", "gauge_state", "alarm"),
)
PLAN = Plan(
    model="flood",
    revision=3,
    champion=Version("7", "/model.onnx", INPUTS),
    views=(plan_view("gauge_state", [GAUGES]),),
    request=(RequestInput("gauge_id", "BYTES"),),
    online_store="",
    clock_file="",
    prediction_log="",
    deadline_ms=100,
)


@pytest.fixture
def offline(tmp_path):
    store = SmallStore(tmp_path)
    store.publish(*PUBLISHED)
    versions = published_versions(store.publications, [GAUGES])
    histories = {name: store.lake.read(f"published/{name}", version) for name, version in versions.items()}
    return OfflineRows({GAUGES.name: GAUGES}, histories, store.open())


def answer(gauge_id, at, event, level, status="present", **more):
    """One logged answer: its row's event and its features, which follow from the level as the gauge's do."""
    row = gauge(gauge_id, event or 0, 0, level)
    features = dict(zip(("level", "readings", "river", "alarm"), row[3:7], strict=True))
    return {
        "prediction_id": f"{gauge_id}{at}",
        "time": hour(at),
        "model_version": "7",
        "revision": 3,
        "answered": True,
        "gauge_id": gauge_id,
        "gauge_state__event_timestamp": None if event is None else hour(event),
        "gauge_state__status": status,
        **{f"gauge_state__{name}": value for name, value in features.items()},
        **more,
    }


def judge(offline, *answers, plans=PLAN, landed=None):
    frame = pl.DataFrame(list(answers), schema=log_schema(PLAN), orient="row")
    return check_served_parity(frame, lambda revision: plans, offline, landed or len(answers))


TRUE = [
    answer("a", 1, 0, 1.0),
    answer("a", 4, 4, 2.5),  # the event of that very instant
    answer("b", 2, 0, None),
    answer("c", 2, 0, float(np.float32(0.1))),  # the graph takes it as float32
    answer("a", 11, 4, None, "outside_max_age"),
    answer("nobody", 2, None, None, "not_found"),
    answer(None, 2, None, None, "not_found"),
]


def test_answers_that_were_given_what_training_reads_pass_with_their_numbers(offline):
    outcome = judge(offline, *TRUE)
    assert outcome.passed, outcome.summary
    assert outcome.summary == "28 values of 7 answers hold the offline bits"
    assert (outcome.evidence["compared"], outcome.evidence["values"], outcome.evidence["differences"]) == (7, 28, 0)
    assert outcome.evidence["views"]["gauge_state"]["not_found"] == 2
    assert outcome.table[0]["outside_max_age"] == 1


def test_one_bit_is_found_and_named_with_values_events_key_and_prediction(offline):
    planted = {"gauge_state__level": float(np.nextafter(np.float32(2.5), np.float32(3)))}
    outcome = judge(offline, *TRUE, answer("a", 6, 4, 2.5) | planted, answer("a", 5, 4, 2.5) | planted)
    assert not outcome.passed
    first = outcome.evidence["first"]
    assert (first["column"], first["entity"], first["prediction_id"]) == ("gauge_state__level", "gauge_id='a'", "a5")
    assert first["served event"] == first["offline event"] == hour(4).isoformat()
    assert first["why"] == "another value of the same event"
    assert outcome.evidence["columns"] == {"gauge_state__level": 2}
    assert outcome.evidence["differences"] == 2
    assert outcome.failing["prediction_id"].to_list() == ["a6", "a5"]
    for text in ("gauge_state__level of gauge_id='a' in prediction a5", "served 2.5000002384", "offline 2.5 (0x4004"):
        assert text in outcome.summary


def test_an_event_that_was_not_pushed_in_time_is_named_as_such(offline):
    outcome = judge(offline, answer("a", 5, 0, 1.0))
    assert not outcome.passed
    told = f"served with the event of {hour(0).isoformat()}, offline has the event of {hour(4).isoformat()}"
    assert f"{told}: served with an older event" in outcome.summary
    assert outcome.evidence["reasons"] == {"served with an older event": 1}
    assert outcome.evidence["columns"].keys() == {i.column for i in INPUTS}
    assert "gauge_state__river and 1 more columns" in outcome.summary
    assert outcome.evidence["first"]["column"] == "gauge_state__level"


def test_a_store_that_was_never_written_fails_by_what_offline_has(offline):
    outcome = judge(offline, answer("a", 1, None, None, "never_written"))
    assert "(never_written), offline 1.0" in outcome.summary
    assert "served with no event, offline has the event of" in outcome.summary


def test_an_event_that_was_taken_back_is_told_from_one_that_is_not_published_yet(offline):
    taken_back = judge(offline, answer("a", 3, 2, 9.0))
    assert not taken_back.passed
    assert taken_back.evidence["reasons"] == {"offline no longer has the event": 1}
    ahead = judge(offline, *TRUE, answer("a", 9, 8, 3.5))
    assert ahead.passed
    assert ahead.evidence["ahead of what is published"] == 1
    assert ahead.summary.endswith("not compared: 1 rows of views newer than what is published")


def test_degraded_answers_are_counted_apart_and_not_compared(offline):
    outcome = judge(offline, *TRUE, answer("a", 1, None, None, "not_read"))
    assert outcome.passed
    assert (outcome.evidence["not read"], outcome.evidence["values"]) == (1, 28)
    assert outcome.summary.endswith("not compared: 1 rows of views not read")


def test_where_nothing_could_be_compared_it_says_so_and_why(offline):
    assert judge(offline).summary == "nothing was compared: no new answers"
    only = judge(offline, answer("a", 1, None, None, "not_read"))
    assert only.passed
    assert only.summary == "nothing was compared: 1 rows of views not read"
    assert judge(offline, *TRUE, plans=None).summary == "nothing was compared: 7 answers whose plan is gone"


def test_each_version_is_compared_by_its_own_inputs(offline):
    other = Version("8", "/other.onnx", INPUTS[:1])
    plan = replace(PLAN, champion=other)
    row = answer("a", 1, 0, 1.0, model_version="8") | {"gauge_state__river": None, "gauge_state__readings": None}
    assert judge(offline, row, plans=plan).evidence["values"] == 1


def test_an_input_without_an_offline_row_is_named_and_not_compared(offline):
    gone = replace(offline, views={GAUGES.name: replace(GAUGES, fields=GAUGES.fields[:2])})
    outcome = judge(gone, *TRUE)
    assert outcome.evidence["not compared"] == {"gauge_state__river": 7, "gauge_state__alarm": 7}
    assert outcome.evidence["values"] == 14


def test_a_sample_says_what_it_is_drawn_from(offline):
    assert "4 values of 1 answers (a sample of 50)" in judge(offline, TRUE[0], landed=50).summary


def test_numbers_differ_by_the_bits_that_the_graph_takes():
    types = {"single": "tensor(float)", "double": "tensor(double)", "text": "tensor(string)"}
    served = pl.DataFrame({"single": [0.1, -0.0, math.nan], "double": [0.1, 1e9, None], "text": ["", "b", None]})
    trained = pl.DataFrame(
        {
            "single": [float(np.float32(0.1)), 0.0, None],
            "double": [float(np.float32(0.1)), 1e9, None],
            "text": [None, "c", ""],
        }
    )
    found = differing(types, served, trained)
    assert {name: flags.tolist() for name, flags in found.items()} == {
        "single": [False, True, False],
        "double": [True, False, False],
        "text": [False, True, False],
    }
