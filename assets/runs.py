"""Runs in this process, recorded in the instance that the UI shows: one partition, a range, or whole assets."""

from collections.abc import Sequence

import dagster as dg

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def materialize(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    keys: Sequence[dg.AssetKey],
    months: Sequence[str] = (),
) -> dg.ExecuteInProcessResult:
    """Materialize assets with their checks in one run: of one month, of a range of months, or unpartitioned.

    Raises what the failing step raised. The run shows in the UI like any other.
    """
    job = definitions.resolve_implicit_global_asset_job_def()
    one = months[0] if len(months) == 1 else None
    tags = {RANGE_START: min(months), RANGE_END: max(months)} if len(months) > 1 else {}
    return job.execute_in_process(
        instance=instance, asset_selection=list(keys), partition_key=one, tags=tags, run_config=QUIET
    )
