import polars as pl
import pytest

from ml.clock import RealClock
from ml.lake import Lake
from ml.publication import Publications
from ml.read_only_lake import ReadOnlyLake
from ml.verdicts import Verdict, Verdicts

ROWS = pl.DataFrame({"x": [1, 2], "partition_key": ["2013-01"] * 2})


@pytest.fixture
def lake(tmp_path):
    Lake(tmp_path).replace("features/state", ROWS, ["2013-01"])
    return ReadOnlyLake(tmp_path)


def test_it_reads_like_any_lake(lake):
    assert lake.tables() == ["features/state"]
    assert lake.read("features/state", 0).collect()["x"].sort().to_list() == [1, 2]
    assert lake.partition_versions("features/state") == {"2013-01": 0}


def test_nothing_is_written_in_any_way(lake, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    verdict = Verdict("features/state", 0, "expectations", True, "2013-01")
    for write in (
        lambda: lake.replace("features/state", ROWS, ["2013-01"]),
        lambda: lake.replace("new/table", ROWS),
        lambda: lake.replace_streamed("features/state", ROWS.to_arrow().to_reader(), "2013-01"),
        lambda: lake.append("features/state", ROWS),
        lambda: lake.append_in_order("audit/verdicts", ROWS),
        lambda: lake.restore("features/state", 0),
        lambda: lake.lock("features/state"),
        lambda: Verdicts(lake, RealClock()).record([verdict]),
        lambda: Publications(lake, RealClock()).publish("state", {"2013-01": 0}, actor="a notebook"),
    ):
        with pytest.raises(PermissionError, match="was opened to be read"):
            write()
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
