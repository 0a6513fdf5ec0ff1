"""A run keeps the files of Dagster's event log open: others read each event at once, and none stays open after it."""

import os
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef

from assets.progress import progress_logger
from assets.runs import materialize

KEY = dg.AssetKey("told")


def instance_at(folder: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder)))


def open_logs(folder: Path) -> set[str]:
    """Return the names of the event log's files that this process has open."""
    opened = set()
    for number in Path("/proc/self/fd").iterdir():
        try:
            opened.add(os.readlink(number))
        except FileNotFoundError:
            continue
    return {Path(path).name for path in opened if path.startswith(f"{folder}/history/")}


def test_another_process_s_instance_sees_an_event_as_soon_as_it_is_logged(tmp_path):
    seen = []

    @dg.asset(key=KEY)
    def told(context: dg.AssetExecutionContext) -> None:
        file = Path(context.instance.event_log_storage.path_for_shard(context.run.run_id))
        for number in range(3):
            os.utime(file, (0, 0))
            context.log.info(f"event {number}")
            with instance_at(tmp_path) as other:
                newest = other.all_logs(context.run.run_id)[-1].user_message
            seen.append((newest, file.stat().st_mtime > 0, f"{context.run.run_id}.db" in open_logs(tmp_path)))

    with instance_at(tmp_path) as instance:
        assert materialize(dg.Definitions([told], loggers={"progress": progress_logger}), instance, [KEY]).success
        # The time of change is what Dagster's pages watch.
        assert seen == [(f"event {number}", True, True) for number in range(3)]
        assert instance.get_latest_materialization_event(KEY)
        assert open_logs(tmp_path) == set()


def test_a_run_that_fails_leaves_nothing_open(tmp_path):
    @dg.asset(key=KEY)
    def told() -> None:
        raise ValueError("no")

    with instance_at(tmp_path) as instance:
        with pytest.raises(ValueError, match="no"):
            materialize(dg.Definitions([told], loggers={"progress": progress_logger}), instance, [KEY])
        assert open_logs(tmp_path) == set()
        (run,) = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.FAILURE
