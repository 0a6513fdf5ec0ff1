"""Point-in-time joins of three views: ours, Feast's own stores, DuckDB ASOF, pandas, polars; corrections on and off.

Entity rows, versions a view and cases are below; each engine runs in a process of its own.
"Wrong" counts cells that differ from ours after ours has been checked against a plain Python oracle on a sample.
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

from benchmarks._pit_data import write_data
from benchmarks._pit_engines import NAMES
from benchmarks._pit_oracle import expected
from benchmarks.report import conclude

ROWS, VERSIONS = 1_000_000, 5_000_000
MANY, FEW = 100_000, 10_000  # entities: 50 versions each in a view, and 500
SAMPLE = 2_000
BARS = {"kept_100000": 5.0, "kept_10000": 30.0, "raw_100000": 2.0, "raw_10000": 10.0}
MOST_OF_READING, MOST_GROWTH = 2.2, 4.5
REPEATS = {"ours_kept": 3, "ours_raw": 2, "read_kept": 3, "polars_asof": 2, "duckdb_asof": 2}
ALONE = {"ours_kept", "ours_raw", "feast_duckdb", "read_kept"}  # what the cases without corrections compare


@dataclass(frozen=True)
class Run:
    """One engine on one case: median seconds, median processor seconds, peak memory in MiB, wrong cells, rows lost."""

    wall: float
    cpu: float
    peak: float
    wrong: int = 0
    lost: int = 0


def main() -> None:
    """Measure and print. HEADWATER_BENCH_SHARE (0 to 1) makes the data smaller, for a look; the bars are for 1."""
    share = float(os.environ.get("HEADWATER_BENCH_SHARE", "1"))
    rows, versions = int(ROWS * share), int(VERSIONS * share)
    found: dict[tuple[int, bool], dict[str, Run]] = {}
    with tempfile.TemporaryDirectory(prefix="pit_join-") as folder:
        for corrections in (True, False):
            for entities in (MANY, FEW):
                place = Path(folder) / "case"
                write_data(place, rows, versions, entities, corrections)
                found[entities, corrections] = _case(place, None if corrections else ALONE)
                _print(
                    f"{rows:,} rows, 3 views of {versions:,}, {entities:,} entities",
                    corrections,
                    found[entities, corrections],
                )
                shutil.rmtree(place)
        quarter = _quarter(Path(folder) / "quarter", rows, versions)
        _file_store(Path(folder) / "small")
    _conclude(found, quarter)


def _case(folder: Path, engines: set[str] | None) -> dict[str, Run]:
    runs = {"ours_kept": _run("ours_kept", folder, None)}
    ours = pl.read_parquet(folder / "ours_kept.result")
    _check(folder, ours)
    for engine in ("ours_raw", "feast_duckdb", "duckdb_asof", "pandas_asof", "polars_asof", "read_kept"):
        if engines is None or engine in engines:
            runs[engine] = _run(engine, folder, ours)
    return runs


def _run(engine: str, folder: Path, ours: pl.DataFrame | None) -> Run:
    print(f"  {engine} ...", file=sys.stderr, flush=True)
    result = folder / f"{engine}.result"
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks._pit_engines", engine, str(folder), str(result)]
    done = subprocess.run([*command, str(REPEATS.get(engine, 1))], capture_output=True, text=True)
    if done.returncode:
        raise LookupError(
            f"{engine} failed: {done.stderr.strip().splitlines()[-1:]}; install the peers with make bench"
        )
    used = json.loads(done.stdout.splitlines()[-1])
    wrong, lost = (0, 0) if ours is None or not result.exists() else _compare(pl.read_parquet(result), ours)
    return Run(median(used["wall"]), median(used["cpu"]), used["peak"], wrong, lost)


def _compare(found: pl.DataFrame, ours: pl.DataFrame) -> tuple[int, int]:
    """Return wrong cells among the rows returned, and rows lost. Equal entity rows have equal features."""
    key = ["key", "event_timestamp"]
    ours = ours.sort(key)
    if found.height == ours.height:
        found = found.sort(key)
        return sum(int(found[name].ne_missing(ours[name]).sum()) for name in NAMES), 0
    both = found.join(ours.unique(key), on=key, suffix="__ours")
    wrong = sum(int(both[name].ne_missing(both[f"{name}__ours"]).sum()) for name in NAMES)
    return wrong, ours.height - found.height


def _check(folder: Path, ours: pl.DataFrame) -> None:
    sample = ours.sample(min(SAMPLE, ours.height), seed=1)
    if not (right := expected(folder, sample)).equals(sample.select(NAMES)):
        wrong = sum(int(right[name].ne_missing(sample[name]).sum()) for name in NAMES)
        raise LookupError(f"ours has {wrong} wrong cells of {sample.height * len(NAMES)} against the oracle")
    print(f"  oracle: 0 of {sample.height * len(NAMES):,} sampled cells wrong", file=sys.stderr, flush=True)


def _quarter(folder: Path, rows: int, versions: int) -> Run:
    """Ours on a quarter of the rows and versions."""
    write_data(folder, rows // 4, versions // 4, MANY // 4, True)
    run = _run("ours_kept", folder, None)
    shutil.rmtree(folder)
    return run


def _file_store(folder: Path) -> None:
    """Feast's file store on as much as it can do in a minute or so."""
    write_data(folder, 1_000, 20_000, 500, True)
    _run("ours_kept", folder, None)
    run = _run("feast_file", folder, pl.read_parquet(folder / "ours_kept.result"))
    what = f"{run.wall:.1f} s, {run.lost} rows lost, {run.wrong} wrong cells"
    print(f"Feast's file store, 1,000 rows, 3 views of 20,000: {what}")


def _print(title: str, corrections: bool, runs: dict[str, Run]) -> None:
    print(f"\n{title}, {'with' if corrections else 'without'} corrections")
    print(f"{'engine':<16}{'seconds':>9}{'CPU s':>9}{'peak MiB':>10}{'wrong cells':>13}{'CPU of Feast / its':>20}")
    for engine, run in runs.items():
        ratio = f"{runs['feast_duckdb'].cpu / run.cpu:.1f}"
        wrong = "" if engine == "read_kept" else f"{run.wrong:,}"
        print(f"{engine:<16}{run.wall:>9.2f}{run.cpu:>9.2f}{run.peak:>10.0f}{wrong:>13}{ratio:>20}", flush=True)


def _conclude(found: dict[tuple[int, bool], dict[str, Run]], quarter: Run) -> None:
    ratios = {}
    for entities in (MANY, FEW):
        runs = found[entities, True]
        for kind in ("kept", "raw"):
            ratios[f"{kind}_{entities}"] = runs["feast_duckdb"].cpu / runs[f"ours_{kind}"].cpu
    reading = {e: found[e, True]["ours_kept"].cpu / found[e, True]["read_kept"].cpu for e in (MANY, FEW)}
    growth = found[MANY, True]["ours_kept"].cpu / quarter.cpu
    memory = all(runs[f"ours_{k}"].peak < runs["feast_duckdb"].peak for runs in found.values() for k in ("kept", "raw"))
    wrong = sum(runs[f"ours_{kind}"].wrong for runs in found.values() for kind in ("kept", "raw"))
    held = {name: ratio >= BARS[name] for name, ratio in ratios.items()} | {
        "of_reading": max(reading.values()) <= MOST_OF_READING,
        "growth": growth <= MOST_GROWTH,
        "memory": memory,
        "wrong": wrong == 0,
    }
    print(f"\nCPU of ours (kept) / just reading the kept files: {reading[MANY]:.2f} and {reading[FEW]:.2f}")
    print(f"CPU of ours (kept) at 4 times the rows and versions: {growth:.2f} times")
    print("bars held:", ", ".join(f"{name}: {'yes' if held[name] else 'NO'}" for name in held))
    more = {name: round(ratio, 2) for name, ratio in ratios.items()}
    conclude(
        "pit_join", ratios["kept_100000"], BARS["kept_100000"], holds=all(held.values()),
        of_reading=round(max(reading.values()), 2), growth=round(growth, 2), wrong=wrong, **more,
    )  # fmt: skip
