"""What a month's gates cost: seconds in checks, dbt's tests and the guard, against the rest of the month's processing.

A home of its own, in which the months before have arrived. Then months arrive one by one, each by three runs through
Dagster in this process, as `make demo` makes them: raw flights, raw weather, features with publishing. Gates are
the steps of all checks (blocking or not, drift included), dbt's tests as dbt timed them, and the time inside
the guard; processing is all the rest of those runs. Imports happen in the months before. The leakage audit and parity
belong to a training set, not to a month; they are shown apart when HEADWATER_HOME holds one.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEventType

from assets.definitions import definitions_for
from assets.resources import Platform
from assets.runs import materialize
from benchmarks.report import conclude
from checks.guard import Guard
from ml.clock import ReplayClock
from ml.settings import Settings
from ml.sources import SOURCES
from ml.sources.nycflights13 import YEAR

BEFORE, MEASURED = 3, 3
BAR = 0.25
DBT_BUILD = "dbt_build"


@dataclass
class Cost:
    """Seconds of one month: by gate, and everything."""

    gates: dict[str, float] = field(default_factory=dict)
    total: float = 0.0

    def add(self, gate: str, seconds: float) -> None:
        """Count seconds of a gate."""
        self.gates[gate] = self.gates.get(gate, 0.0) + seconds

    @property
    def share(self) -> float:
        """Gates against the rest."""
        gates = sum(self.gates.values())
        return gates / (self.total - gates)


def main() -> None:
    """Measure and print. Raises LookupError if dbt's manifest has not been built."""
    home = Settings()
    with tempfile.TemporaryDirectory(prefix="headwater-gates-") as folder:
        platform = _new_home(home, Path(folder))
        definitions, months = definitions_for(platform), YEAR.names
        with dg.DagsterInstance.ephemeral(tempdir=folder) as instance:
            line = Line(platform, definitions, instance)
            print(f"the months before: {', '.join(months[:BEFORE])}", flush=True)
            line.reference_tables()
            line.arrive(months[:BEFORE])
            costs = {month: line.arrive([month]) for month in months[BEFORE : BEFORE + MEASURED]}
    _print(costs)
    _print_training_set(home)
    share = median(cost.share for cost in costs.values())
    conclude("gate_cost", share, BAR, holds=share <= BAR, months=list(costs))


@dataclass
class Line:
    """A lineage that months arrive in."""

    platform: Platform
    definitions: dg.Definitions
    instance: dg.DagsterInstance

    def reference_tables(self) -> None:
        """Land what has no months."""
        keys = [dg.AssetKey(["raw", source.name]) for source in SOURCES if source.partition is None]
        materialize(self.definitions, self.instance, keys)

    def arrive(self, months: Sequence[str]) -> Cost:
        """Land months one by one, then build and publish them in one run; return what that took."""
        cost = Cost()
        with _timed_guard(cost):
            for source in SOURCES:
                for month in months if source.partition is not None else ():
                    self._run(cost, [dg.AssetKey(["raw", source.name])], [month])
            keys = self.definitions.resolve_asset_graph().get_all_asset_keys()
            self._run(cost, sorted(k for k in keys if k.path[0] in ("staging", "features", "published")), months)
        return cost

    def _run(self, cost: Cost, keys: Sequence[dg.AssetKey], months: Sequence[str]) -> None:
        started = time.perf_counter()
        result = materialize(self.definitions, self.instance, keys, months)
        cost.total += time.perf_counter() - started
        for event in result.all_events:
            if event.event_type == DagsterEventType.STEP_SUCCESS and event.step_key:
                stage, _, check = event.step_key.partition("__")
                if not event.step_key.startswith(DBT_BUILD) and _is_check(result, event.step_key):
                    gates = f"{stage}: {check.rpartition('__')[2]}" + (" and history" * (stage in ("raw", "features")))
                    cost.add(gates, event.step_success_data.duration_ms / 1000)
        if any(key.path[0] == "features" for key in keys):
            cost.add("dbt tests", _dbt_tests(self.platform))


def _is_check(result: dg.ExecuteInProcessResult, step: str) -> bool:
    return any(e.step_key == step for e in result.all_events if e.event_type == DagsterEventType.ASSET_CHECK_EVALUATION)


def _dbt_tests(platform: Platform) -> float:
    """Return the seconds that the tests of the newest dbt run took, as dbt timed them."""
    newest = max(platform.settings.dbt_target.rglob("run_results.json"), key=lambda path: path.stat().st_mtime)
    results = json.loads(newest.read_text())["results"]
    return sum(r["execution_time"] for r in results if r["unique_id"].startswith("test."))


@contextmanager
def _timed_guard(cost: Cost) -> Iterator[None]:
    """Count the time that readers spend in the guard."""
    asked: Callable[..., Any] = Guard.problems

    def problems(*given: Any) -> Any:
        started = time.perf_counter()
        try:
            return asked(*given)
        finally:
            cost.add("guard", time.perf_counter() - started)

    Guard.problems = problems  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        Guard.problems = asked  # type: ignore[method-assign]


def _new_home(home: Settings, folder: Path) -> Platform:
    """Return the parts of an empty home in which the year is over; only dbt's manifest is brought along."""
    manifest = home.dbt_target / "manifest.json"
    if not manifest.exists():
        raise LookupError(f"dbt's manifest {manifest} is missing; run make setup")
    settings = home.embedded_in(folder)
    settings.dbt_target.mkdir(parents=True)
    shutil.copy(manifest, settings.dbt_target)
    ReplayClock(settings.clock_file).set(datetime(2014, 1, 2, tzinfo=UTC))
    return Platform(settings)


def _print(costs: dict[str, Cost]) -> None:
    names = list(dict.fromkeys(name for cost in costs.values() for name in cost.gates))
    print(f"\n{'seconds':<36}" + "".join(f"{month:>10}" for month in costs))
    for name in names:
        print(f"{name:<36}" + "".join(f"{cost.gates.get(name, 0):>10.2f}" for cost in costs.values()))
    print(f"{'all gates':<36}" + "".join(f"{sum(cost.gates.values()):>10.2f}" for cost in costs.values()))
    print(
        f"{'the rest: processing':<36}" + "".join(f"{c.total - sum(c.gates.values()):>10.2f}" for c in costs.values())
    )
    print(f"{'gates / processing':<36}" + "".join(f"{cost.share:>10.1%}" for cost in costs.values()))


def _print_training_set(settings: Settings) -> None:
    """Show what the gates of a training set took when it was last judged, if there is one."""
    instance_home = settings.dagster_home
    if not (instance_home / "dagster.yaml").exists():
        return
    from dagster._core.instance.ref import InstanceRef

    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(instance_home))) as instance:
        for run in instance.get_runs(limit=50):
            for step in instance.get_run_step_stats(run.run_id):
                if "training_set__" in step.step_key and step.end_time and step.start_time:
                    print(f"apart, once a training set: {step.step_key} {step.end_time - step.start_time:.1f} s")
                    return
