"""Rows scored a second and peak memory, the year ten times over: ours in slices against a month at once in pandas.

On the home of `make demo`: its flights with ids of their own, ten of each, its published features, its champion. Each
engine joins features through Feast on our offline store, scores with the same graph and writes a Delta table, in a
process of its own. HEADWATER_BENCH_SHARE (0 to 1) takes fewer copies, HEADWATER_BENCH_REPEATS sets the rounds.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import polars as pl

from assets.resources import platform_for
from benchmarks._batch_engines import ENGINES, ROWS, SCORES
from benchmarks.report import conclude
from ml.lake import PARTITION_KEY, Lake
from ml.models.flight_delay import FLIGHT_DELAY
from ml.settings import Settings

COPIES, REPEATS = 10, 3
FASTER, LESS_MEMORY, APART = 1.0, 0.5, 1e-6


@dataclass(frozen=True)
class Found:
    """Medians of one engine: seconds, processor seconds, peak memory in MiB; its largest difference from ours."""

    wall: float
    cpu: float
    peak: float
    apart: float


def main() -> None:
    """Measure and print."""
    copies = max(1, round(COPIES * float(os.environ.get("HEADWATER_BENCH_SHARE", "1"))))
    repeats = int(os.environ.get("HEADWATER_BENCH_REPEATS", str(REPEATS)))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rows = _write_rows(place, copies)
        budget = Settings().score_memory_mb
        print(f"{rows:,} rows, {copies} of each flight of the year; medians of {repeats}; slices of {budget:g} MiB")
        found = _measure(place, repeats)
    print(f"{'engine':<14}{'seconds':>9}{'CPU s':>9}{'rows/s':>10}{'peak MiB':>10}{'largest difference':>20}")
    for engine, run in found.items():
        speed = f"{rows / run.wall:>10,.0f}"
        print(f"{engine:<14}{run.wall:>9.1f}{run.cpu:>9.1f}{speed}{run.peak:>10,.0f}{run.apart:>20.1e}")
    ours, others = found["ours"], [run for engine, run in found.items() if engine != "ours"]
    ratio = min(run.wall for run in others) / ours.wall
    memory = ours.peak / min(run.peak for run in others)
    conclude(
        "batch_scores",
        ratio,
        FASTER,
        holds=ratio >= FASTER and memory <= LESS_MEMORY and all(run.apart <= APART for run in others),
        rows=rows,
        memory=round(memory, 3),
        **{f"{engine}_rows_per_s": round(rows / run.wall) for engine, run in found.items()},
        **{f"{engine}_cpu_s": round(run.cpu, 1) for engine, run in found.items()},
        **{f"{engine}_peak_mib": round(run.peak) for engine, run in found.items()},
    )


def _write_rows(folder: Path, copies: int) -> int:
    """Write the year's rows, each `copies` times under ids of its own, a month a partition; return how many."""
    outcome, lake = FLIGHT_DELAY.outcome, Lake(folder)
    year = platform_for(Settings()).publications.read(outcome.table).collect()
    for (month,), rows in year.group_by(PARTITION_KEY, maintain_order=True):
        each = [rows.with_columns(pl.col(outcome.row_id) + f"#{number}") for number in range(copies)]
        lake.replace(ROWS, pl.concat(each), [str(month)])
    return year.height * copies


def _measure(folder: Path, repeats: int) -> dict[str, Found]:
    runs: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}
    apart = dict.fromkeys(ENGINES, 0.0)
    for number in range(repeats):
        for engine in ENGINES:
            print(f"  {engine}: {number + 1} of {repeats} ...", file=sys.stderr, flush=True)
            runs[engine].append(_run(engine, folder))
            if number == 0 and engine != "ours":
                apart[engine] = _apart(folder / "ours", folder / engine)
    medians = {name: {k: median(run[k] for run in all_) for k in all_[0]} for name, all_ in runs.items()}
    return {engine: Found(**medians[engine], apart=apart[engine]) for engine in ENGINES}


def _run(engine: str, folder: Path) -> dict[str, float]:
    shutil.rmtree(folder / engine, ignore_errors=True)
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks._batch_engines", engine, str(folder)]
    done = subprocess.run([*command, str(folder / engine)], capture_output=True, text=True)
    shutil.rmtree(folder / f"{engine}.mlflow", ignore_errors=True)
    if done.returncode:
        raise LookupError(f"{engine} failed: {done.stderr.strip().splitlines()[-1:]}; run make demo first")
    used: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return used


def _apart(ours: Path, other: Path) -> float:
    """Return the largest difference between two engines' scores; infinite if one lacks a row."""
    row_id = FLIGHT_DELAY.outcome.row_id
    one, two = (Lake(path).read(SCORES).select(row_id, "probability") for path in (ours, other))
    both = one.join(two, on=row_id, how="full", suffix="_other").select(
        (pl.col("probability") - pl.col("probability_other")).abs().fill_null(float("inf")).max()
    )
    return float(both.collect(engine="streaming").item())


if __name__ == "__main__":
    main()
