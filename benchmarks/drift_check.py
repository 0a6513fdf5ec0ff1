"""First stage of a drift check on 1M rows against Evidently's DataDriftPreset: time, memory, equality, verdicts.

HEADWATER_BENCH_COLUMNS (default 10) is the number of columns, HEADWATER_BENCH_SHARE (0 to 1) shortens the frames, for a
look; the bars are for 1. Each engine runs in a process of its own; the ratio is of processor time, all cores together.
"""

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl

from benchmarks._drift_shifts import Case, cases
from benchmarks.report import conclude
from checks.drift_bounds import Bounds, breaches
from checks.drift_profile import Numbers, profile_of
from checks.drift_statistics import Comparison, compare

ROWS = 1_000_000
FASTER, OF_MEMORY, EQUAL = 20.0, 0.25, 1e-9
REPEATS = {"ours_kept": 5, "ours_made": 3, "evidently": 3}
# Evidently's own defaults for its distances and for PSI; KS as much.
BOUNDS = Bounds(distance=0.1, share=0, ks=0.1, psi=0.1)


@dataclass(frozen=True)
class Run:
    """One engine: median seconds, median processor seconds, peak memory in MiB, distance by column."""

    wall: float
    cpu: float
    peak: float
    distances: dict[str, float]


def main() -> None:
    """Measure and print."""
    columns = int(os.environ.get("HEADWATER_BENCH_COLUMNS", "10"))
    rows = int(ROWS * float(os.environ.get("HEADWATER_BENCH_SHARE", "1")))
    with tempfile.TemporaryDirectory(prefix="drift_check-") as name:
        folder = Path(name)
        for seed, side in enumerate(("reference", "current")):
            frame(rows, columns, seed).write_parquet(folder / f"{side}.parquet")
        runs = {engine: _run(engine, folder, repeats) for engine, repeats in REPEATS.items()}
        worst = max(abs(runs["ours_kept"].distances[c] - d) for c, d in runs["evidently"].distances.items())
    print(f"\n{rows:,} rows a side, {columns} columns")
    print(f"{'engine':<40}{'seconds':>9}{'CPU s':>9}{'peak MiB':>10}{'times':>8}")
    names = {"ours_kept": "ours, reference profile kept", "ours_made": "ours, reference profile made too"}
    for engine, run in runs.items():
        times = runs["evidently"].cpu / run.cpu
        print(f"{names.get(engine, engine):<40}{run.wall:>9.2f}{run.cpu:>9.2f}{run.peak:>10.0f}{times:>8.1f}")
    verdicts, apart = _verdicts()
    equal = max(worst, apart)
    ratio, memory = runs["evidently"].cpu / runs["ours_kept"].cpu, runs["ours_kept"].peak / runs["evidently"].peak
    held = {"faster": ratio >= FASTER, "memory": memory <= OF_MEMORY, "equal": equal <= EQUAL}
    held["verdicts"] = verdicts["ours"] == verdicts["cases"]
    print(f"memory: {memory:.2f} of Evidently's (bar {OF_MEMORY}); statistics at most {equal:.1e} apart (bar {EQUAL})")
    print("bars held:", ", ".join(f"{name}: {'yes' if held[name] else 'NO'}" for name in held))
    conclude("drift_check", ratio, FASTER, holds=all(held.values()), memory=round(memory, 3), apart=equal, **verdicts)


def frame(rows: int, columns: int, seed: int) -> pl.DataFrame:
    """Return `rows` rows of numbers measured, counted and skewed, and of names; every column a little apart by seed."""
    random = np.random.default_rng(seed)
    kinds: list[Any] = [
        lambda n: random.normal(seed * 0.05, 1, rows),
        lambda n: random.exponential(10 + n, rows),
        lambda n: random.lognormal(0, 1, rows),
        lambda n: random.poisson(5 + seed * 0.2, rows),
        lambda n: random.choice([f"name {i}" for i in range(20 + n)], rows),
        lambda n: random.uniform(-1, 1, rows),
        lambda n: np.where(random.random(rows) < 0.1, np.nan, random.normal(0, 1, rows)),
        lambda n: random.integers(0, 4, rows),
        lambda n: random.choice(list("ABCDE"), rows, p=[0.3, 0.3, 0.2, 0.1, 0.1]),
        lambda n: random.integers(0, 10_000, rows),
    ]
    values = {f"c{n}": kinds[n % len(kinds)](n) for n in range(columns)}
    return pl.DataFrame(values).fill_nan(None)


def _run(engine: str, folder: Path, repeats: int) -> Run:
    print(f"  {engine} ...", file=sys.stderr, flush=True)
    if engine.startswith("ours"):  # the kept profile is there beforehand; in `ours_made` it is removed again
        _start(engine, folder, 1)
    used = _start(engine, folder, repeats)
    return Run(median(used["wall"]), median(used["cpu"]), used["peak"], used["distances"])


def _start(engine: str, folder: Path, repeats: int) -> dict[str, Any]:
    for kept in (folder / "profiles" / "t").glob("now-*/*"):
        kept.unlink()
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks._drift_worker", engine, str(folder), str(repeats)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise LookupError(f"{engine} failed: {done.stderr.strip().splitlines()[-1:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _verdicts() -> tuple[dict[str, int], float]:
    """Judge the labelled cases, print them, and return how many each got right, and how far statistics are apart."""
    print(f"\n{'case':<44}{'label':<10}{'ours':<10}{'Evidently':<12}worst of ours")
    right, apart = Counter[str](), 0.0
    for case in cases():
        found = compare(profile_of(case.reference), profile_of(case.current))
        broken = breaches(found, BOUNDS)
        theirs, difference = _evidently(case, found)
        apart = max(apart, difference)
        words = {True: "drift", False: "none", None: "raises"}
        print(
            f"{case.name:<44}{words[case.moved]:<10}{words[bool(broken)]:<10}{words[theirs]:<12}"
            f"{broken[0] if broken else ''}"
        )
        right += Counter(
            cases=1,
            ours=bool(broken) == case.moved,
            evidently=theirs == case.moved,
            agree=theirs == bool(broken),
            same_statistic=theirs is None or theirs == (found.distance >= BOUNDS.distance),
        )
    print(
        f"of {right['cases']} cases right: ours {right['ours']}, Evidently {right['evidently']}; the two agree on "
        f"{right['agree']}; by the statistic they share, on {right['same_statistic']}"
    )
    return dict(right), apart


def _evidently(case: Case, found: Comparison) -> tuple[bool | None, float]:
    """Return the preset's verdict, None if it raises, and how far our statistics are from its and scipy's."""
    from evidently.legacy.calculations.stattests import get_stattest, psi_stat_test
    from evidently.legacy.core import ColumnType
    from scipy.stats import ks_2samp

    old, new = (side.to_pandas().replace([-np.inf, np.inf], np.nan).dropna() for side in (case.reference, case.current))
    numeric = isinstance(profile_of(case.reference), Numbers)
    kind = ColumnType.Numerical if numeric else ColumnType.Categorical
    if new.empty:
        return None, 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        default = get_stattest(old, new, kind, None)(old, new, kind, None)
        psi = psi_stat_test(old, new, kind, None).drift_score
        ks = ks_2samp(old, new).statistic if numeric else 0.0
    apart = (abs(default.drift_score - found.distance), abs(psi - found.psi), abs(ks - found.ks))
    return bool(default.drifted), float(max(apart))


if __name__ == "__main__":
    main()
