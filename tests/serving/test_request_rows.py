"""Rows into tensors: what a field means decides which times it takes."""

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from serving.plan import RequestInput
from serving.request_rows import RequestField, columns_of, fields_of
from serving.triton_config import config_pbtxt
from tests.serving.example import example_plan

NEW_YORK = timezone(timedelta(hours=-4))
INSTANT = datetime(2013, 10, 3, 17, 15, tzinfo=NEW_YORK)
WALL = INSTANT.replace(tzinfo=None)


def number(kind, value):
    return columns_of("m", {"f": RequestField("FP64", kind)}, [{"f": value}])["f"].item()


@pytest.mark.parametrize(
    ("kind", "value", "seconds"),
    [
        ("time", INSTANT, datetime(2013, 10, 3, 21, 15, tzinfo=UTC).timestamp()),
        ("time", "2013-10-03T17:15-04:00", datetime(2013, 10, 3, 21, 15, tzinfo=UTC).timestamp()),
        ("time", "2013-10-03T21:15Z", datetime(2013, 10, 3, 21, 15, tzinfo=UTC).timestamp()),
        ("time", 1380834900, 1380834900),
        ("local_time", WALL, datetime(2013, 10, 3, 17, 15, tzinfo=UTC).timestamp()),
        ("local_time", "2013-10-03T17:15", datetime(2013, 10, 3, 17, 15, tzinfo=UTC).timestamp()),
        ("", "2013-10-03T17:15", datetime(2013, 10, 3, 17, 15, tzinfo=UTC).timestamp()),
        ("", INSTANT, datetime(2013, 10, 3, 21, 15, tzinfo=UTC).timestamp()),
        ("numeric", "12.5", 12.5),
        ("int", 4, 4),
    ],
)
def test_what_fits_becomes_seconds_or_the_number(kind, value, seconds):
    assert number(kind, value) == seconds


@pytest.mark.parametrize("kind", ["", "time", "local_time", "numeric", "int"])
@pytest.mark.parametrize("missing", [None, ""])
def test_what_is_missing_is_nan_for_every_kind(kind, missing):
    assert math.isnan(number(kind, missing))


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("time", WALL, "'f' is 2013-10-03T17:15:00; it takes an instant with its zone"),
        ("time", "2013-10-03", "'f' is '2013-10-03'; it takes an instant with its zone"),
        ("local_time", INSTANT, "'f' is 2013-10-03T17:15:00-04:00; it takes what the clock at the place shows"),
        ("local_time", "2013-10-03T21:15Z", "it takes what the clock at the place shows, without a zone"),
        ("numeric", INSTANT, "it takes a number"),
        ("int", "2013-10-03", "it takes a whole number"),
        ("time", "soon", "it takes an instant"),
        ("", "soon", "it takes a number or a time"),
    ],
)
def test_a_time_of_the_other_kind_is_refused(kind, value, told):
    with pytest.raises(ValueError, match=told):
        number(kind, value)


def test_the_configuration_says_what_fields_mean(tmp_path):
    plan = example_plan(tmp_path, 1, "1")
    told = fields_of(text_format.Parse(config_pbtxt(plan), ModelConfig()))
    assert told == {
        "tailnum": ("BYTES", "string"),
        "origin": ("BYTES", "string"),
        "runway": ("FP64", "int"),
        "distance": ("FP64", "numeric"),
        "departure": ("FP64", "time"),
    }


def test_a_deployment_that_does_not_say_what_fields_mean_still_takes_rows(tmp_path):
    plan = example_plan(tmp_path, 1, "1")
    object.__setattr__(plan, "request", tuple(RequestInput(f.name, f.dtype) for f in plan.request))
    config = config_pbtxt(plan)
    assert "parameters" not in config
    assert fields_of(text_format.Parse(config, ModelConfig()))["departure"] == ("FP64", "")
