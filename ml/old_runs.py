"""MLflow runs that no registered version came from: finding the old ones, and removing them for good.

Registered versions and their runs are never touched: they are the history of what was served.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from ml.registry import Registry


def unregistered_runs(registry: Registry, before: datetime) -> list[str]:
    """Return the ids of runs that ended (or, killed, began) before an instant and made no version, oldest first."""
    if not registry.exists:
        return []
    client = registry.client
    registered = {version.run_id for version in client.search_model_versions("", max_results=10_000)}
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, max_results=50_000, order_by=["attributes.start_time ASC"])
    return [
        run.info.run_id
        for run in runs
        if run.info.run_id not in registered and (run.info.end_time or run.info.start_time) < before.timestamp() * 1000
    ]


def remove_runs(registry: Registry, runs: Sequence[str]) -> None:
    """Remove runs with their artifacts, through MLflow's own collector. Raises OSError with its words if it fails."""
    folders = [registry.run_folder(run) for run in runs]
    for run in runs:
        registry.client.delete_run(run)
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", registry.tracking_uri]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": registry.tracking_uri}
    done = subprocess.run([*command, "--run-ids", ",".join(runs)], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise OSError(f"mlflow gc failed: {done.stderr.strip().splitlines()[-1]}; run make vacuum again")
    for folder in folders:  # the collector empties it
        with suppress(OSError):
            folder.rmdir()
