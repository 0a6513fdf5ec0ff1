import polars as pl
import pytest

from ml.lake import WHOLE, Lake

JANUARY = pl.DataFrame({"value": [1], "partition_key": ["2013-01"]})
FEBRUARY = pl.DataFrame({"value": [2], "partition_key": ["2013-02"]})


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


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


def test_metadata_travels_with_the_commit(lake):
    version = lake.replace("raw/x", JANUARY, ["2013-01"], {"rows": 1})
    assert lake.metadata("raw/x", version) == {"rows": 1}
    with pytest.raises(LookupError, match="no version 9"):
        lake.metadata("raw/x", 9)


def test_a_missing_or_damaged_table_names_itself_and_the_remedy(lake):
    with pytest.raises(LookupError, match=r"no table 'raw/x'.*materialize"):
        lake.read("raw/x")
    lake.replace("raw/x", JANUARY, ["2013-01"])
    (lake.root / "raw/x/_delta_log/00000000000000000000.json").write_text("not json")
    with pytest.raises(LookupError, match="raw/x"):
        lake.version("raw/x")
