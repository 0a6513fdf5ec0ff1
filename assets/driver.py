"""Sensors asked, and the runs that they ask for done, in this process: as the daemon does, where time is replayed.

A replayed month passes in minutes, and the daemon looks at the machine's clock. The sensors, the jobs and the records
in Dagster's instance are the same; a run key that was used starts no second run.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.events import RunFailureReason
from dagster._core.storage.tags import RUN_FAILURE_REASON_TAG, RUN_KEY_TAG, SENSOR_NAME_TAG

from assets.dead_runs import PROCESS, end_dead_runs, this_process
from assets.event_log import kept_open
from assets.resources import Platform
from assets.runs import QUIET

MOST_ROUNDS = 20  # one run's end may be what another sensor waits for


@dataclass(frozen=True)
class Driver:
    """The sensors of `definitions` by name; what tools print goes to the file `output`."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    platform: Platform
    output: Path
    _cursors: dict[str, str | None] = field(default_factory=dict)

    def drive(self, sensors: Sequence[str]) -> list[dg.DagsterRun]:
        """Ask the sensors in order, do what they ask for, and ask again until nobody wants anything.

        Returns the runs that were started, the failed ones too: a sensor sees to what follows from that.
        """
        end_dead_runs(self.instance)  # a sensor waits for what it takes to be under way
        done: list[dg.DagsterRun] = []
        for _ in range(MOST_ROUNDS):
            runs = [run for name in sensors for run in self._asked(name)]
            done += runs
            if not runs:
                return done
        raise RuntimeError(f"sensors {list(sensors)} still ask for runs after {MOST_ROUNDS} rounds")

    def _asked(self, name: str) -> Iterator[dg.DagsterRun]:
        sensor = self.definitions.get_sensor_def(name)
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self._cursors.get(name),
            resources={"platform": self.platform},
            definitions=self.definitions,
        )
        tick = sensor.evaluate_tick(context)
        self._cursors[name] = tick.cursor
        for request in tick.run_requests or ():
            tags = {RUN_KEY_TAG: f"{name}:{request.run_key}", SENSOR_NAME_TAG: name}
            if request.run_key and self.instance.get_runs(dg.RunsFilter(tags=tags), limit=1):
                continue
            yield self._run(request, sensor, tags)

    def start(self, name: str, config: Mapping[str, Any]) -> dg.DagsterRun:
        """Do a job, as a person would start it. Raises what the failing step raised."""
        return self._execute(self.definitions.resolve_job_def(name), config, {}, raises=True)

    def _run(self, request: dg.RunRequest, sensor: dg.SensorDefinition, tags: dict[str, str]) -> dg.DagsterRun:
        name = request.job_name or sensor.job_name
        assert name is not None  # each of our sensors has one
        job = self.definitions.resolve_job_def(name)
        if request.asset_selection is not None:
            checks = request.asset_check_keys
            job = job.get_subset(
                asset_selection=set(request.asset_selection),
                asset_check_selection=None if checks is None else set(checks),
            )
        return self._execute(job, request.run_config, {**request.tags, **tags})

    def _execute(
        self, job: dg.JobDefinition, config: Mapping[str, Any], tags: Mapping[str, str], raises: bool = False
    ) -> dg.DagsterRun:
        end_dead_runs(self.instance)
        with self.output.open("a") as file, redirect_stdout(file), kept_open(self.instance):
            result = job.execute_in_process(
                instance=self.instance,
                run_config={**QUIET, **config},
                tags={**tags, PROCESS: this_process()},
                raise_on_error=raises,
            )
        run = self.instance.get_run_by_id(result.run_id)
        assert run is not None
        if run.tags.get(RUN_FAILURE_REASON_TAG) == RunFailureReason.UNEXPECTED_TERMINATION.value:
            raise KeyboardInterrupt  # Dagster ends the run, and says no more
        return run
