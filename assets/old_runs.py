"""Dagster runs that say nothing of how things stand: finding the old ones, and removing them.

A run stays while it holds the newest materialization, observation or check of an asset or of one of its
partitions, or one that such a materialization was made from, and while a sensor remembers by its run key what
it has started.
"""

import math
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.data_version import extract_data_provenance_from_entry
from dagster._core.storage.tags import RUN_KEY_TAG

FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_MANY = 100_000
_PAGE = 1_000


def spent_runs(instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey], before: datetime) -> list[str]:
    """Return the ids of runs that ended before an instant and are not needed any more."""
    needed = _runs_of_events(instance)
    needed |= {run for check in checks for run in _newest_checks(instance, check)}
    old = instance.get_runs(dg.RunsFilter(statuses=FINISHED, updated_before=before))
    return [run.run_id for run in old if run.run_id not in needed and RUN_KEY_TAG not in run.tags]


def remove_runs(instance: dg.DagsterInstance, runs: Iterable[str]) -> None:
    """Remove runs with their events, captured output and intermediate files."""
    for run in runs:
        instance.delete_run(run)
        shutil.rmtree(Path(instance.storage_directory()) / run, ignore_errors=True)


def _runs_of_events(instance: dg.DagsterInstance) -> set[str]:
    """Return the runs of the newest events, and of those that the newest materializations were made from.

    Dagster tells whether a partition is out of date by comparing its input's newest data version with the one
    before the storage id that the materialization has seen: it must find that one too.
    """
    events = {key: [*_all(instance.fetch_materializations, key)] for key in instance.all_asset_keys()}
    seen: dict[dg.AssetKey, set[float]] = {key: {math.inf} for key in events}
    for records in events.values():
        for record in _newest_until(records, math.inf):
            provenance = extract_data_provenance_from_entry(record.event_log_entry)
            for key, cursor in provenance.input_storage_ids.items() if provenance else ():
                seen.setdefault(key, set()).add(cursor or math.inf)
    found = {r.run_id for key, records in events.items() for until in seen[key] for r in _newest_until(records, until)}
    observed = (_newest_until([*_all(instance.fetch_observations, key)], math.inf) for key in events)
    return found | {record.run_id for records in observed for record in records}


def _newest_until(records: Iterable[dg.EventLogRecord], until: float) -> Collection[dg.EventLogRecord]:
    """Return the newest of `records` (newest first) of each partition, no newer than a storage id."""
    newest: dict[str | None, dg.EventLogRecord] = {}
    for record in records:
        if record.storage_id <= until:
            newest.setdefault(record.partition_key, record)
    return newest.values()


def _all(fetch: Callable[..., Any], key: dg.AssetKey) -> Iterator[dg.EventLogRecord]:
    """Yield all records of an asset that `fetch` finds, newest first."""
    page = fetch(key, limit=_PAGE)
    yield from page.records
    while page.has_more:
        page = fetch(key, limit=_PAGE, cursor=page.cursor)
        yield from page.records


def _newest_checks(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> set[str]:
    newest: dict[str | None, str] = {}
    for record in instance.event_log_storage.get_asset_check_execution_history(check, limit=_MANY):
        newest.setdefault(record.partition, record.run_id)
    return set(newest.values())
