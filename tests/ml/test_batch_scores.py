"""What batch inference stands on: streamed writes, hashes of parts, partitions by statistics, slices by memory."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from ml.batch_scores import Version
from ml.extents import partitions_between
from ml.fingerprint import RunningHash
from ml.lake import Lake
from ml.memory import slice_rows

TABLE = "model/scores"


def month(name, count=3, value=1.0):
    at = datetime(2013, int(name[-2:]), 1, 12, 0, 0, 500, tzinfo=UTC)
    asked = [at + timedelta(days=n) for n in range(count)]
    return pl.DataFrame(
        {"row_id": [f"{name}/{n}" for n in range(count)], "value": value, "asked": asked, "partition_key": name},
        schema_overrides={"asked": pl.Datetime("us", "UTC")},
    )


def reader(*frames, fail=False):
    tables = [frame.to_arrow(compat_level=pl.CompatLevel.oldest()) for frame in frames]

    def batches():
        for table in tables:
            yield from table.to_batches()
        if fail:
            raise RuntimeError("killed")

    return pa.RecordBatchReader.from_batches(tables[0].schema, batches())


def test_a_partition_is_replaced_from_a_stream_in_one_transaction(tmp_path):
    lake = Lake(tmp_path)
    lake.replace_streamed(TABLE, reader(month("2013-01"), month("2013-01", value=2.0)), "2013-01", {"content": "a"})
    lake.replace_streamed(TABLE, reader(month("2013-02")), "2013-02")
    version = lake.replace_streamed(TABLE, reader(month("2013-01", 5)), "2013-01", {"content": "b"})
    assert lake.read(TABLE).collect().sort("row_id").equals(pl.concat([month("2013-01", 5), month("2013-02")]))
    assert lake.read(TABLE, 0).collect().height == 6
    assert lake.partition_versions(TABLE) == {"2013-01": version, "2013-02": 1}
    assert lake.metadata(TABLE, version) == {"content": "b"}


def test_a_stream_that_breaks_leaves_the_table_as_it_was(tmp_path):
    lake = Lake(tmp_path)
    lake.replace_streamed(TABLE, reader(month("2013-01")), "2013-01")
    with pytest.raises(Exception, match="killed"):
        lake.replace_streamed(TABLE, reader(month("2013-01", 9), fail=True), "2013-01")
    assert lake.version(TABLE) == 0
    assert lake.read(TABLE).collect().equals(month("2013-01"))


def test_a_hash_of_parts_does_not_depend_on_the_cuts():
    rows = month("2013-01", 9).with_columns(pl.col("row_id").replace("2013-01/4", None))

    def hashed(size):
        running = RunningHash()
        for part in rows.iter_slices(size):
            running.update(part)
        return running.hexdigest()

    assert hashed(1) == hashed(4) == hashed(9)
    whole = hashed(9)
    for column, other in (("value", 1.5), ("row_id", "other")):
        rows = month("2013-01", 9).with_columns(pl.lit(other).alias(column))
        assert hashed(9) != whole


def test_the_partitions_that_can_hold_a_time_are_told_from_statistics(tmp_path):
    lake, names = Lake(tmp_path), ["2013-01", "2013-02", "2013-03"]
    version = lake.replace(TABLE, pl.concat([month(name) for name in names]), names)

    def between(start, end):
        return list(partitions_between(lake, TABLE, version, "asked", start, end))

    february = datetime(2013, 2, 1, tzinfo=UTC)
    assert between(february, datetime(2013, 3, 1, tzinfo=UTC)) == ["2013-02"]
    last = datetime(2013, 2, 3, 12, 0, 0, 500, tzinfo=UTC)
    assert between(last, last + timedelta(microseconds=1)) == ["2013-02"]  # Delta knows milliseconds only
    assert between(february - timedelta(days=29), datetime(2013, 3, 2, tzinfo=UTC)) == names
    assert between(datetime(2014, 1, 1, tzinfo=UTC), datetime(2014, 2, 1, tzinfo=UTC)) == []
    assert list(partitions_between(lake, TABLE, version, "unknown", february, february)) == names


def test_a_version_without_a_threshold_decides_nothing():
    value = np.array([0.25, 0.5], dtype=np.float32)
    columns = {column.name: column for column in Version("3", "ab", "probability", 0.5).columns(value)}
    assert columns["decision"].to_list() == [False, True]
    assert columns["probability"].dtype == pl.Float32
    (regression, undecided, number, graph) = Version("3", "ab", "value", None).columns(value)
    assert (regression.name, undecided.to_list(), undecided.dtype) == ("value", [None, None], pl.Boolean)
    assert (number.to_list(), graph.to_list()) == (["3", "3"], ["ab", "ab"])


def test_as_many_rows_at_a_time_as_the_memory_allows():
    schema = pl.Schema({"a": pl.Float64(), "name": pl.String()})
    assert slice_rows(schema, 100) == 100 * 2**20 // 100
    assert slice_rows(schema, 0.001) == 1_000
