from datetime import UTC, datetime, timedelta
from itertools import pairwise

import polars as pl
import pytest

from ml.history import delta_pieces
from ml.lake import Lake

START = datetime(2013, 7, 1, tzinfo=UTC)
COLUMNS = {name: pl.col(name) for name in ("key", "event_timestamp", "created_timestamp")}


def rows(partition, *hours):
    moments = [START + timedelta(hours=hour) for hour in hours]
    frame = pl.DataFrame({"key": "a", "event_timestamp": moments, "created_timestamp": moments})
    return frame.with_columns(pl.col(pl.Datetime).dt.cast_time_unit("us"), partition_key=pl.lit(partition))


def pieces(lake, *parts):
    lake.replace("t", pl.concat(parts), sorted({part["partition_key"][0] for part in parts}))
    return delta_pieces(lake.open("t"), "partition_key", COLUMNS)


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path)


def test_each_partition_is_a_piece_and_the_newest_comes_first(lake):
    found = pieces(lake, rows("a", 0, 1), rows("b", 5, 9, 6), rows("c", 11))
    assert [piece.rows for piece in found] == [1, 3, 2]
    assert [piece.frame.collect().height for piece in found] == [1, 3, 2]
    for piece in found:
        times = piece.frame.collect()["event_timestamp"].to_physical()
        assert piece.first_us <= times.min()
        assert times.max() <= piece.last_us
    assert all(newer.first_us > older.last_us for newer, older in pairwise(found))


def test_partitions_whose_events_overlap_are_one_piece(lake):
    found = pieces(lake, rows("a", 0, 6), rows("b", 5, 9), rows("c", 11))
    assert [piece.rows for piece in found] == [1, 4]


def test_a_table_without_partitions_is_one_piece_of_unknown_extent(lake):
    lake.replace("t", rows("a", 0, 1))
    (piece,) = delta_pieces(lake.open("t"), "partition_key", COLUMNS)
    assert (piece.first_us, piece.last_us) == (None, None)
    assert piece.frame.collect().columns == list(COLUMNS)


def test_a_partition_with_an_event_that_is_not_known_is_not_cut_off(lake):
    """Statistics say nothing of a file whose events are all null: nothing may be left out for that."""
    unknown = rows("b", 5).with_columns(event_timestamp=pl.lit(None, pl.Datetime("us", "UTC")))
    (piece,) = pieces(lake, rows("a", 0, 1), unknown)
    assert piece.frame.collect().height == 3
