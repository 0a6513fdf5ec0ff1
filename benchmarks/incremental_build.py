"""Building feature tables: one month incrementally against the full build, on the real year twenty times over.

The year is made twenty times as wide, not as long: twenty New Yorks, each with its own aircraft, carriers, airports and
flight numbers, in the same twelve months. So a month is one of twelve, the look-back costs what it costs in
production, and a longer history does not flatter the ratio. The full build runs once, for minutes; the month's
times are medians of three runs. Time is dbt's own (`execution_time` in
run_results.json) in the models' SQL, staging and features; landing raw data and dbt's start are shown beside it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import polars as pl
import yaml

from assets.resources import DBT_PROJECT
from benchmarks.report import conclude
from ml.clock import RealClock
from ml.lake import PARTITION_KEY, Lake
from ml.landing import land
from ml.source import Source
from ml.sources import SOURCES

COPIES, ROUNDS = 20, 3
MONTH = "2013-07"  # the busiest; its look-back lies inside the year
KEYS = ("tailnum", "carrier", "origin", "dest", "faa")
BAR = 6.0  # the full build takes at least so many times as long
MEMORY = "4GB"  # DuckDB's limit; the rest is spilled


@dataclass(frozen=True)
class Build:
    """Seconds of one dbt run: in each model's SQL, all of them, and the command from start to end."""

    models: Mapping[str, float]
    command: float

    @property
    def sql(self) -> float:
        """Seconds in all models' SQL."""
        return sum(self.models.values())


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        rows, landing = _landed(home)
        print(f"{rows:,} raw flights ({COPIES} x the year), landed in {landing:.0f} s; DuckDB limited to {MEMORY}")
        full = _dbt(home, "2013-01", "2013-12")
        months = [_dbt(home, MONTH, MONTH) for _ in range(ROUNDS)]
    month = _median(months)
    print(f"\n{'model':<32}{'full build, s':>16}{'one month, s':>16}{'ratio':>10}")
    for name, seconds in full.models.items():
        print(f"{name:<32}{seconds:>16.2f}{month.models[name]:>16.2f}{seconds / month.models[name]:>10.1f}")
    print(f"{'all models SQL':<32}{full.sql:>16.2f}{month.sql:>16.2f}{full.sql / month.sql:>10.1f}")
    print(f"{'the dbt command':<32}{full.command:>16.2f}{month.command:>16.2f}{full.command / month.command:>10.1f}")
    conclude(
        "incremental_build",
        full.sql / month.sql,
        BAR,
        full_s=round(full.sql, 2),
        month_s=round(month.sql, 2),
        raw_flights=rows,
    )


def _landed(home: Path) -> tuple[int, float]:
    """Land every source, each month's rows `COPIES` times; return raw flights and the seconds it took."""
    started = time.perf_counter()
    once, lake = Lake(home / "once"), Lake(home / "lake")
    for source in SOURCES:
        for name, frame in _months(source, once):
            lake.replace(source.table, _wider(frame), None if name is None else [name])
    return lake.read("raw/flights").select(pl.len()).collect().item(), time.perf_counter() - started


def _months(source: Source, lake: Lake) -> Iterator[tuple[str | None, pl.DataFrame]]:
    """Land a source once and give back its months, or the whole of one that has none."""
    if source.partition is None:
        list(land(source, lake, RealClock()))
        yield None, lake.read(source.table).collect()
        return
    months = [f"2013-{month:02}" for month in range(1, 13)]
    list(land(source, lake, RealClock(), months))
    for month in months:
        yield month, lake.read(source.table, partitions=[month]).collect()


def _wider(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows, and nineteen copies whose keys are others; the first copy keeps its names."""
    keys = [name for name in KEYS if name in frame.columns]
    copies = [frame.with_columns(pl.col(keys) + (f"~{copy}" if copy else "")) for copy in range(COPIES)]
    return pl.concat(copies).sort("event_timestamp") if PARTITION_KEY in frame.columns else pl.concat(copies)


def _dbt(home: Path, start: str, end: str) -> Build:
    """Run dbt's models (no tests) in a process of its own."""
    environment = {
        **os.environ,
        "HEADWATER_DBT_LAKE": str(home / "lake"),
        "HEADWATER_WAREHOUSE": str(home / "warehouse.duckdb"),
        "DBT_TARGET_PATH": str(home / "target"),
        "DBT_LOG_PATH": str(home / "logs"),
    }
    command = [str(Path(sys.executable).parent / "dbt"), "--quiet", "run", "--project-dir", str(DBT_PROJECT)]
    command += ["--profiles-dir", str(_profiles(home)), "--vars", json.dumps({"start_month": start, "end_month": end})]
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise LookupError(f"dbt run {start} to {end} failed: {done.stdout.strip()[-500:]}")
    results = json.loads((home / "target" / "run_results.json").read_text())["results"]
    models = {
        r["unique_id"].split(".")[-1]: r["execution_time"] for r in results if r["unique_id"].startswith("model.")
    }
    return Build(models, seconds)


def _profiles(home: Path) -> Path:
    """The project's profile with a limit on memory; return the folder of profiles.yml."""
    profiles = yaml.safe_load((DBT_PROJECT / "profiles.yml").read_text())
    profiles["headwater"]["outputs"]["local"]["settings"]["memory_limit"] = MEMORY
    (home / "profiles.yml").write_text(yaml.safe_dump(profiles))
    return home


def _median(builds: list[Build]) -> Build:
    names = builds[0].models
    return Build({n: median(b.models[n] for b in builds) for n in names}, median(b.command for b in builds))
