"""The engines that `drift_check` compares, on one pair of frames, each in a process of its own.

`python -m benchmarks._drift_worker ENGINE FOLDER REPEATS`: prints seconds, peak memory and the statistics as JSON. Ours
reads the current rows from Parquet within its time; Evidently gets both frames in memory.
"""

import json
import resource
import shutil
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

Call = Callable[[int], Any]


def ours_kept(folder: Path) -> Call:
    """Return our first stage: statistics of all columns; the reference's profile is kept, the current one is made."""
    from checks.drift import check_drift
    from checks.drift_bounds import Bounds
    from checks.drift_evidence import Reference
    from checks.drift_windows import Part, Profiles, Window

    reference, current = (pl.scan_parquet(folder / f"{side}.parquet") for side in ("reference", "current"))
    columns, never = reference.collect_schema().names(), float("inf")
    bounds = Bounds(never, 0, never, never, never, never)
    profiles = Profiles(folder / "profiles")

    def check(repeat: int) -> Any:
        now = Window("now", (Part("t", "now", f"now {repeat}", lambda: current),))
        before = Window("before", (Part("t", "before", "before", lambda: reference),))
        outcome = check_drift(now, [Reference("trailing", before, columns, bounds)], profiles, folder / "page.html")
        return outcome.evidence["references"]["trailing"]["distances"]

    return check


def ours_made(folder: Path) -> Call:
    """Return the same with the reference's profile made anew each time."""
    check = ours_kept(folder)

    def afresh(repeat: int) -> Any:
        shutil.rmtree(folder / "profiles", ignore_errors=True)
        return check(repeat)

    return afresh


def evidently(folder: Path) -> Call:
    """Return Evidently's preset as it comes."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    old, new = (pl.read_parquet(folder / f"{side}.parquet").to_pandas() for side in ("reference", "current"))
    names = [c for c in old.columns if old[c].dtype == object]
    definition = DataDefinition(numerical_columns=[c for c in old.columns if c not in names], categorical_columns=names)

    def check(repeat: int) -> Any:
        sides = (Dataset.from_pandas(frame, data_definition=definition) for frame in (new, old))
        metrics = Report([DataDriftPreset()]).run(*sides).dict()["metrics"]
        return {m["config"]["column"]: float(m["value"]) for m in metrics if "column" in m["config"]}

    return check


def main() -> None:
    """Time the engine named on the command line and print what it found."""
    engine, folder, repeats = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("ignore")
    call = {"ours_kept": ours_kept, "ours_made": ours_made, "evidently": evidently}[engine](folder)
    wall, cpu, found = list[float](), list[float](), None
    for repeat in range(repeats):
        started, used = time.perf_counter(), time.process_time()
        found = call(repeat)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak, "distances": found}))


if __name__ == "__main__":
    main()
