"""A process that writes to a lake beside others: `python -m tests.ml.lake_writer ROOT LOCKS NAME HOW COUNT`.

Prints the versions of its commits as JSON.
"""

import json
import sys
from pathlib import Path

import polars as pl

from ml.lake import Lake


def write(lake: Lake, name: str, how: str, count: int) -> list[int]:
    """Write `count` commits of one row each, told apart by `name` and number."""
    rows = [pl.DataFrame({"writer": [name], "n": [n], "partition_key": [name]}) for n in range(count)]
    if how == "append":
        return [lake.append("audit/log", row, {"writer": name, "n": n}) for n, row in enumerate(rows)]
    if how == "order":
        return [lake.append_in_order("audit/log", row) for row in rows]
    versions = []
    for n, row in enumerate(rows):
        with lake.lock("raw/x"):
            versions.append(lake.replace("raw/x", row, [name], {"writer": name, "n": n}))
    return versions


if __name__ == "__main__":
    root, locks, name, how, count = sys.argv[1:]
    lake = Lake(root, Path(locks))
    lake.exists("audit/log")
    print("ready", flush=True)
    sys.stdin.readline()  # until all are
    print(json.dumps(write(lake, name, how, int(count))))
