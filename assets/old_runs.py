"""Dagster runs that say nothing of how things stand: finding the old ones, and removing them.

A run stays while it holds the newest materialization, observation or check of an asset or of one of its
partitions, and while a sensor remembers by its run key what it has started.
"""

import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import dagster as dg
from dagster._core.events import DagsterEventType
from dagster._core.storage.tags import RUN_KEY_TAG

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_MANY = 100_000


def spent_runs(instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey], before: datetime) -> list[str]:
    """Return the ids of runs that ended before an instant and are not needed any more."""
    needed = {run for key in instance.all_asset_keys() for run in _newest_events(instance, key)}
    needed |= {run for check in checks for run in _newest_checks(instance, check)}
    old = instance.get_runs(dg.RunsFilter(statuses=FINISHED, updated_before=before))
    return [run.run_id for run in old if run.run_id not in needed and RUN_KEY_TAG not in run.tags]


def remove_runs(instance: dg.DagsterInstance, runs: Iterable[str]) -> None:
    """Remove runs with their events, captured output and intermediate files."""
    for run in runs:
        instance.delete_run(run)
        shutil.rmtree(Path(instance.storage_directory()) / run, ignore_errors=True)


def _newest_events(instance: dg.DagsterInstance, key: dg.AssetKey) -> set[str]:
    runs = set()
    fetches = {
        DagsterEventType.ASSET_MATERIALIZATION: instance.fetch_materializations,
        DagsterEventType.ASSET_OBSERVATION: instance.fetch_observations,
    }
    for kind, fetch in fetches.items():
        runs |= {record.run_id for record in fetch(key, limit=1).records}
        ids = list(instance.event_log_storage.get_latest_storage_id_by_partition(key, kind).values())
        wanted = dg.AssetRecordsFilter(asset_key=key, storage_ids=ids)
        runs |= {record.run_id for record in (fetch(wanted, limit=len(ids)).records if ids else [])}
    return runs


def _newest_checks(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> set[str]:
    newest: dict[str | None, str] = {}
    for record in instance.event_log_storage.get_asset_check_execution_history(check, limit=_MANY):
        newest.setdefault(record.partition, record.run_id)
    return set(newest.values())
