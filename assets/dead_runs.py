"""Runs of processes that were killed: they end as failed, and what they held of Dagster's pools is free again.

Dagster's daemon does that for runs that it started. A run in a process of its own (`assets.runs`) has nobody to do
it: the next one that wanted the same pool would wait for ever. So each says in its tags which process it is.
"""

import os
import socket

import dagster as dg

from serving.proc_files import started

_ACTIVE = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
PROCESS = ".dagster/headwater_process"  # host, pid, and when the process started; the UI hides such tags


def this_process() -> str:
    """Return what tells this process from any other."""
    return f"{socket.gethostname()}:{os.getpid()}:{started(os.getpid())}"


def end_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """End the runs of this machine whose process is gone, and free their slots; return their ids."""
    dead = [run for run in instance.get_runs(dg.RunsFilter(statuses=_ACTIVE)) if _gone(run.tags.get(PROCESS, ""))]
    for run in dead:
        instance.report_run_failed(run, "Its process was killed.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
    return [run.run_id for run in dead]


def _gone(process: str) -> bool:
    host, _, rest = process.partition(":")
    pid, _, began = rest.partition(":")
    return host == socket.gethostname() and pid.isdecimal() and str(started(int(pid))) != began
