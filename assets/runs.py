"""Runs in this process, recorded in the instance that the UI shows: one partition, a range, or whole assets."""

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import dagster as dg

from assets.dead_runs import PROCESS, end_dead_runs, this_process
from assets.event_log import kept_open

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
FOR_PEOPLE: dict[str, Any] = {"loggers": {"progress": {}}}
QUIET: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def materialize(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    keys: Sequence[dg.AssetKey],
    months: Sequence[str] = (),
    output: Path | None = None,
    go_on: bool = False,
    told: Mapping[str, Any] = FOR_PEOPLE,
) -> dg.ExecuteInProcessResult:
    """Materialize assets with their checks in one run: of one month, of a range of months, or unpartitioned.

    What tools print goes to the file `output`, if given; `told` says what is printed of the run itself. Raises what the
    failing step raised, unless the run shall `go_on` with the steps that do not need it, such as further checks, and
    KeyboardInterrupt if it was interrupted.
    """
    job = definitions.resolve_implicit_global_asset_job_def()
    one = months[0] if len(months) == 1 else None
    tags = {RANGE_START: min(months), RANGE_END: max(months)} if len(months) > 1 else {}
    end_dead_runs(instance)
    with kept_open(instance), (output or Path("/dev/null")).open("a") as file, redirect_stdout(file):
        try:
            return job.execute_in_process(
                instance=instance,
                asset_selection=list(keys),
                partition_key=one,
                tags={**tags, PROCESS: this_process()},
                run_config=told,
                raise_on_error=not go_on,
            )
        except dg.DagsterExecutionInterruptedError as error:  # as Dagster calls it while a run goes on
            raise KeyboardInterrupt from error
