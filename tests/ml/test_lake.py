import itertools
import threading

import polars as pl
import pytest

from ml.lake import ORDER, WHOLE

JANUARY = pl.DataFrame({"value": [1], "partition_key": ["2013-01"]})
FEBRUARY = pl.DataFrame({"value": [2], "partition_key": ["2013-02"]})


@pytest.fixture
def lake(place):
    return place.lake


def values(frame):
    return sorted(frame.collect()["value"])


def test_replacing_a_partition_leaves_the_others_and_every_version_readable(lake):
    lake.replace("raw/x", pl.concat([JANUARY, FEBRUARY]), ["2013-01", "2013-02"])
    lake.replace("raw/x", JANUARY.with_columns(value=pl.lit(10, pl.Int64)), ["2013-01"])
    assert values(lake.read("raw/x")) == [2, 10]
    assert values(lake.read("raw/x", version=0)) == [1, 2]
    assert values(lake.read("raw/x", partitions=["2013-02"])) == [2]


def test_a_partitions_version_is_the_newest_commit_that_wrote_it(lake):
    lake.replace("raw/x", JANUARY, ["2013-01"])
    lake.replace("raw/x", FEBRUARY, ["2013-02"])
    assert lake.partition_versions("raw/x") == {"2013-01": 0, "2013-02": 1}
    assert lake.partition_versions("raw/x", ["2013-03"]) == {}


def test_pinned_reads_take_each_partition_as_of_its_own_version(lake):
    lake.replace("raw/x", pl.concat([JANUARY, FEBRUARY]), ["2013-01", "2013-02"])
    lake.replace("raw/x", FEBRUARY.with_columns(value=pl.lit(20, pl.Int64)), ["2013-02"])
    assert values(lake.read_pinned("raw/x", {"2013-01": 0, "2013-02": 1})) == [1, 20]
    assert values(lake.read_pinned("raw/x", {"2013-01": 1, "2013-02": 0})) == [1, 2]


def test_whole_tables_are_replaced_and_logs_grow(lake):
    lake.replace("raw/dim", JANUARY)
    lake.replace("raw/dim", FEBRUARY.drop("partition_key"))
    assert lake.partition_versions("raw/dim") == {WHOLE: 1}
    lake.append("audit/log", JANUARY)
    lake.append("audit/log", FEBRUARY)
    assert values(lake.read("audit/log")) == [1, 2]


def test_rows_of_another_partition_are_refused_and_nothing_is_written(lake):
    with pytest.raises(ValueError, match="2013-02"):
        lake.replace("raw/x", FEBRUARY, ["2013-01"])
    assert not lake.exists("raw/x")


def test_a_write_returns_its_own_version_whoever_else_writes(lake):
    lake.append("audit/log", JANUARY)
    versions = {}

    def write(name):
        versions[name] = [lake.append("audit/log", JANUARY, {"writer": name, "n": n}) for n in range(8)]

    threads = [threading.Thread(target=write, args=(name,)) for name in "abc"]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    found = {name: [lake.metadata("audit/log", v) for v in versions[name]] for name in "abc"}
    assert found == {name: [{"writer": name, "n": n} for n in range(8)] for name in "abc"}


def test_audit_rows_keep_their_order_where_the_machines_clock_is_set_back(lake, monkeypatch):
    stamps = itertools.count(10_000, -1_000)
    monkeypatch.setattr("ml.lake.audit_order", lambda: next(stamps))
    for value in range(5):
        lake.append_in_order("audit/log", pl.DataFrame({"value": [10 * value, 10 * value + 1]}))
    assert lake.read("audit/log").collect().sort(ORDER)["value"].to_list() == [0, 1, 10, 11, 20, 21, 30, 31, 40, 41]
    assert lake.read("audit/log").collect()[ORDER].is_unique().all()


def test_metadata_travels_with_the_commit(lake):
    version = lake.replace("raw/x", JANUARY, ["2013-01"], {"rows": 1})
    assert lake.metadata("raw/x", version) == {"rows": 1}
    with pytest.raises(LookupError, match="no version 9"):
        lake.metadata("raw/x", 9)


def test_a_missing_table_names_itself_and_the_remedy(lake):
    with pytest.raises(LookupError, match=r"no table 'raw/x'.*materialize"):
        lake.read("raw/x")


@pytest.mark.parametrize("text", ["not json", "", '{"commitInfo": {"timest', "{}\n", "\x00\x00"])
@pytest.mark.parametrize("number", [0, 2])
def test_a_damaged_log_names_table_and_remedy(lake, place, text, number):
    for value in range(3):
        lake.replace("raw/x", JANUARY.with_columns(value=pl.lit(value, pl.Int64)), ["2013-01"])
    place.write(f"raw/x/_delta_log/{number:020}.json", text.encode())
    for read in (lake.read, lake.history, lake.partition_versions, lake.version)[: 3 + (number == 2)]:
        with pytest.raises(LookupError, match=r"table 'raw/x'.*restore .*raw/x from a copy") as caught:
            read("raw/x")
        assert "\n" not in str(caught.value)


def test_a_log_with_a_hole_names_table_and_remedy(lake, place):
    for value in range(3):
        lake.replace("raw/x", JANUARY.with_columns(value=pl.lit(value, pl.Int64)), ["2013-01"])
    place.delete("raw/x/_delta_log/00000000000000000001.json")
    with pytest.raises(LookupError, match=r"table 'raw/x'.*restore .*raw/x from a copy"):
        lake.read("raw/x")


@pytest.mark.parametrize("spoil", ["delete", "truncate"])
def test_a_missing_or_truncated_data_file_names_table_version_and_remedy(lake, place, spoil):
    for value in range(2):
        lake.replace("raw/x", JANUARY.with_columns(value=pl.lit(value, pl.Int64)), ["2013-01"])
    (file,) = ["raw/x/" + path for path in lake.open("raw/x").get_add_actions()["path"].to_pylist()]
    if spoil == "delete":
        place.delete(file)
    else:
        place.write(file, place.read(file)[:100])
    with pytest.raises(LookupError, match=r"'raw/x' at version 1 lacks 1 .*whole are the versions \[0\].*materialize"):
        lake.read("raw/x")
    assert values(lake.read("raw/x", version=0)) == [0]
