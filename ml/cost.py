"""What an answer costs: microseconds of CPU a row in ONNX Runtime, as a server with one core would pay.

Here: the model's graph alone. Not here: reading features and the way through Triton (serving/latency.py).
"""

import time
from pathlib import Path
from statistics import median

import polars as pl

from ml.scoring import feed, open_session

BATCH = 256
REPEATS = 100
ROUNDS = 5


def row_microseconds(path: Path, rows: pl.DataFrame, repeats: int = REPEATS, rounds: int = ROUNDS) -> float:
    """Return microseconds of CPU a row of the ONNX file at `path`: batch 256, one thread, without making the feeds.

    `rows` hold the model's columns; fewer than 256 are repeated. The median of `repeats` batches, and of that the
    least of `rounds`: waiting for a busy core does not count, and what shares its caches can only slow it down.
    Raises LookupError if the file cannot be opened, ValueError if there are no rows or columns are missing.
    """
    if rows.is_empty():
        raise ValueError(f"no rows to measure the cost of {path} with; give held-out rows")
    session = open_session(path, threads=1)
    batch = pl.concat([rows.head(BATCH)] * -(-BATCH // min(BATCH, rows.height))).head(BATCH)
    feeds = feed({entry.name: entry.type for entry in session.get_inputs()}, batch)

    def seconds() -> float:
        started = time.thread_time()
        session.run(None, feeds)  # with one thread it runs in ours
        return time.thread_time() - started

    seconds()  # the first run allocates
    return min(median(seconds() for _ in range(repeats)) for _ in range(rounds)) / BATCH * 1e6
