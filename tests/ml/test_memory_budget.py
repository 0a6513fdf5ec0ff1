"""A history several times larger than the memory that a join may take is joined in pieces, with the same values."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parents[2]
VERSIONS, ENTITIES, FEATURES = 3_000_000, 20_000, 8
BUDGET_MB = 32

CHILD = """
import json, sys
from pathlib import Path
import polars as pl
from ml.history import Piece
from ml.point_in_time import Lookup, PointInTimeJoin

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

history, out, budget = sys.argv[1], sys.argv[2], float(sys.argv[3]) * 2**20
rows = pl.scan_parquet(history).select("key", at="event_timestamp").slice(0, 2_000_000).gather_every(400).collect()
features = [n for n in pl.scan_parquet(history).collect_schema().names() if n.startswith("f")]
before, lines = peak(), []
join = PointInTimeJoin(rows, "at", int(budget) or None, lines.append)
found = join.look_up(Lookup([Piece(pl.scan_parquet(history))], {"key": "key"}, {f: f for f in features}))
print(json.dumps({"grown": peak() - before, "lines": len(lines)}))
found.write_parquet(out)
"""


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    path = tmp_path_factory.mktemp("history") / "kept.parquet"
    number = pl.int_range(VERSIONS, eager=True)
    instant = pl.from_epoch(number % (VERSIONS // ENTITIES) * 3_600 + 1_370_000_000, "s").cast(pl.Datetime("us", "UTC"))
    frame = pl.DataFrame(
        {"key": number // (VERSIONS // ENTITIES), "event_timestamp": instant, "created_timestamp": instant}
    )
    frame.with_columns((number * (n + 1)).cast(pl.Float64).alias(f"f{n}") for n in range(FEATURES)).write_parquet(
        path, row_group_size=50_000
    )
    return path


def joined(history, out, budget):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(history), str(out), str(budget)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout), pl.read_parquet(out)


def test_a_join_keeps_within_a_budget_that_the_history_exceeds_many_times(history, tmp_path):
    free, whole = joined(history, tmp_path / "whole.parquet", 0)
    bound, parts = joined(history, tmp_path / "parts.parquet", BUDGET_MB)
    assert parts.equals(whole)
    assert whole.null_count().sum_horizontal().item() == 0
    table = VERSIONS * (3 + FEATURES) * 8 / 2**20
    assert table > 7 * BUDGET_MB
    assert free["grown"] > table
    # The allocator and Parquet's pages need some room of their own beside the budget.
    assert bound["grown"] < table / 2
