"""MLflow runs that no registered version came from: finding the old ones, and removing them for good.

Registered versions and their runs are never touched: they are the history of what was served.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from ml import remedies
from ml.registry import Registry
from ml.secret_address import scrubbed

# The address is read there: it may hold a password, and anybody may list a process's arguments.
_COLLECT = """
import os, sys
from mlflow.cli import gc
gc(["--backend-store-uri", os.environ["MLFLOW_TRACKING_URI"], "--run-ids", sys.argv[1]])
"""


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


def collected_by_server(registry: Registry) -> bool:
    """Return whether only the registry's server can remove runs for good."""
    return registry.tracking_uri.startswith("http")


def remove_runs(registry: Registry, runs: Sequence[str]) -> None:
    """Remove runs with their artifacts, through MLflow's own collector. Raises OSError with its words if it fails.

    A server lets them only be marked as deleted: then `mlflow gc` beside it removes them.
    """
    folders = [registry.run_folder(run) for run in runs]
    for run in runs:
        registry.client.delete_run(run)
    if collected_by_server(registry):
        return
    command = [sys.executable, "-c", _COLLECT, ",".join(runs)]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": registry.tracking_uri}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        words = scrubbed(done.stderr.strip().splitlines()[-1], registry.tracking_uri)
        raise OSError(f"mlflow gc failed: {words}; run {remedies.here('make vacuum')} again")
    for folder in filter(None, folders):  # the collector empties it
        with suppress(OSError):
            folder.rmdir()
