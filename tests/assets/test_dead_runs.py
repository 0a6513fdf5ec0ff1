"""A run whose process was killed keeps nothing: neither its place in a pool nor the look of a run under way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
from dagster._core.storage.tags import TagType, get_tag_type

from assets.dead_runs import PROCESS, end_dead_runs
from assets.runs import materialize

KEY = dg.AssetKey("slow")


@dg.asset(pool="one_writer")
def slow(context: dg.AssetExecutionContext) -> None:
    """Tells that it runs, and stays if it is told to."""
    started = os.environ.get("STARTED_FILE")
    if started:
        Path(started).touch()
        time.sleep(60)


def definitions() -> dg.Definitions:
    from assets.progress import progress_logger

    return dg.Definitions(assets=[slow], loggers={"progress": progress_logger})


def instance_at(home: Path) -> dg.DagsterInstance:
    from dagster._core.instance.ref import InstanceRef

    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text("concurrency:\n  pools:\n    granularity: op\n    default_limit: 1\n")
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home)))


def test_the_next_run_gets_the_pool_of_one_that_was_killed(tmp_path: Path) -> None:
    told = tmp_path / "started"
    code = (
        "import sys; from pathlib import Path; from tests.assets.test_dead_runs import *\n"
        "materialize(definitions(), instance_at(Path(sys.argv[1])), [KEY])"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "home")],
        env={**os.environ, "STARTED_FILE": str(told), "PYTHONPATH": os.getcwd()},
    )
    until = time.monotonic() + 120
    while not told.exists():
        assert killed.poll() is None
        assert time.monotonic() < until
        time.sleep(0.1)
    with instance_at(tmp_path / "home") as instance:
        assert end_dead_runs(instance) == []  # it lives
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert instance.event_log_storage.get_concurrency_info("one_writer").active_slot_count == 1
        assert materialize(definitions(), instance, [KEY]).success
        assert instance.event_log_storage.get_concurrency_info("one_writer").active_slot_count == 0
        statuses = [run.status for run in instance.get_runs()]
        assert statuses == [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]


def test_people_do_not_see_which_process_it_was() -> None:
    assert get_tag_type(PROCESS) is TagType.HIDDEN
