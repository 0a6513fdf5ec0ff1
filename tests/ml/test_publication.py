import threading
from datetime import UTC, datetime

import polars as pl
import pytest

from ml.clock import ReplayClock
from ml.lake import Lake
from ml.publication import Publications


def rows(month, value):
    return pl.DataFrame({"value": [value], "partition_key": [month]})


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


@pytest.fixture
def publications(lake, tmp_path):
    clock = ReplayClock(tmp_path / "clock.json")
    clock.set(datetime(2013, 3, 1, tzinfo=UTC))
    return Publications(lake, clock)


def stage(lake, month, value):
    return lake.replace("features/state", rows(month, value), [month])


def published(publications):
    return sorted(publications.read("state").collect()["value"])


def test_readers_see_a_publication_only_once_the_pointer_moved(lake, publications):
    publications.publish("state", {"2013-01": stage(lake, "2013-01", 1)}, actor="a")
    staged = stage(lake, "2013-02", 2)
    # What a publish that dies half-way leaves: rows written, pointer not moved.
    lake.replace("published/state", rows("2013-02", 666), ["2013-02"])
    assert published(publications) == [1]
    publications.publish("state", {"2013-02": staged}, actor="a")
    assert published(publications) == [1, 2]


def test_nothing_of_an_interrupted_publish_is_ever_published(lake, publications):
    publications.publish("state", {"2013-01": stage(lake, "2013-01", 1)}, actor="a")
    lake.replace("published/state", rows("2013-02", 666), ["2013-02"])
    publications.publish("state", {"2013-03": stage(lake, "2013-03", 3)}, actor="a")
    assert published(publications) == [1, 3]


def test_published_data_roll_back_and_forward_again(lake, publications):
    first = publications.publish("state", {"2013-01": stage(lake, "2013-01", 1)}, actor="a")
    second = publications.publish("state", {"2013-01": stage(lake, "2013-01", 2)}, actor="a")
    publications.roll_back("state", first.version, actor="b", reason="wrong units")
    assert published(publications) == [1]
    assert publications.current("state").staged == first.staged
    assert publications.current("state").reason == "wrong units"
    publications.roll_back("state", second.version, actor="b", reason="they were right")
    assert published(publications) == [2]


def test_publishing_after_a_roll_back_builds_on_what_is_published(lake, publications):
    first = publications.publish("state", {"2013-01": stage(lake, "2013-01", 1)}, actor="a")
    publications.publish("state", {"2013-01": stage(lake, "2013-01", 666)}, actor="a")
    publications.roll_back("state", first.version, actor="b", reason="bad")
    publications.publish("state", {"2013-02": stage(lake, "2013-02", 2)}, actor="a")
    assert published(publications) == [1, 2]


def test_two_publishers_at_once_publish_one_after_the_other(lake, publications):
    staged = {f"2013-{n:02}": stage(lake, f"2013-{n:02}", n) for n in range(1, 9)}
    threads = [threading.Thread(target=publications.publish, args=("state", {m: v}, "a")) for m, v in staged.items()]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert published(publications) == list(range(1, 9))
    assert publications.current("state").staged == staged
    assert len(publications.log("state")) == 8


def test_a_column_that_the_view_declares_and_the_build_did_not_write_is_not_published(lake, publications):
    publications.publish("state", {"2013-01": stage(lake, "2013-01", 1)}, actor="a", columns=["value"])
    without = lake.replace("features/state", rows("2013-01", 2).rename({"value": "valve"}), ["2013-01"])
    with pytest.raises(ValueError, match=r"features/state version 1 has no column 'value'.*models/features/state.sql"):
        publications.publish("state", {"2013-01": without}, actor="a", columns=["value"])
    assert published(publications) == [1]
    assert len(publications.log("state")) == 1


def test_only_what_was_published_can_be_rolled_back_to(lake, publications):
    publications.publish("state", {"2013-01": stage(lake, "2013-01", 1)}, actor="a")
    with pytest.raises(LookupError, match=r"version 9 was never published; one can go back to: \[0\]"):
        publications.roll_back("state", 9, actor="b", reason="?")
    with pytest.raises(LookupError, match="nothing is published of 'other'"):
        publications.read("other")
