"""Which answers the gate on predictions looks at: each once, whatever happened to the runs before."""

from datetime import UTC, datetime

import polars as pl
import pytest

from assets.gates import Batch
from assets.resources import Platform
from assets.served_parity import new_answers
from checks.served_parity import CHECK
from ml.clock import ReplayClock
from ml.settings import Settings
from ml.verdicts import Verdict

TABLE = "flood/predictions"


@pytest.fixture
def platform(tmp_path):
    found = Platform(Settings(home=tmp_path))
    ReplayClock(found.settings.clock_file).set(datetime(2013, 10, 1, tzinfo=UTC))
    return found


def land(platform, *ids, answered=True, **columns):
    frame = pl.DataFrame({"prediction_id": ids, "answered": [answered] * len(ids), **columns})
    return Batch(platform, TABLE, platform.lake.append(TABLE, frame))


def judged(batch, **evidence):
    batch.platform.verdicts.record([Verdict(TABLE, batch.version, CHECK, True, evidence=evidence)])


def ids(batch):
    found, landed = new_answers(batch, 1000)
    assert found.height == landed
    return sorted(found["prediction_id"])


def test_each_answer_is_judged_once_and_a_version_can_be_judged_again(platform):
    first = land(platform, "a", "b")
    assert ids(first) == ["a", "b"]
    judged(first, compared=2)
    second = land(platform, "c")
    assert ids(second) == ["c"]
    judged(second, compared=1)
    assert ids(second) == ["c"]


def test_answers_whose_check_crashed_or_never_ran_are_judged_with_the_next(platform):
    judged(land(platform, "a"), compared=1)
    judged(land(platform, "b"), traceback="the check itself failed")
    land(platform, "c")
    assert ids(land(platform, "d")) == ["b", "c", "d"]


def test_rows_that_nobody_was_answered_with_are_left_out(platform):
    judged(land(platform, "a", answered=False), compared=0)
    assert ids(land(platform, "a")) == ["a"]  # the champion's, which landed after that of a version that failed
    assert ids(land(platform, "b", answered=False)) == ["a"]


def test_a_column_that_some_answers_landed_without_is_not_compared(platform):
    judged(land(platform, "a", level=[1.0]), compared=1)
    assert "level" not in new_answers(land(platform, "b"), 9)[0].columns
    assert "level" in new_answers(Batch(platform, TABLE, 0), 9)[0].columns


def test_of_many_answers_a_sample_is_drawn_the_same_each_time(platform):
    many = land(platform, *(f"p{number}" for number in range(500)))
    found, landed = new_answers(many, 20)
    assert (found.height, landed) == (20, 500)
    assert found.sort("prediction_id").equals(new_answers(many, 20)[0].sort("prediction_id"))
