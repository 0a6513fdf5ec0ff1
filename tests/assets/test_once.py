"""How often work is tried: what fails by itself three times is given up, what is killed from outside goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.dead_runs import PROCESS, end_dead_runs, this_process
from assets.once import KILLED, TRIES, tried
from tests.assets.test_dead_runs import instance_at

TAG, NAME = "headwater/trial", "example:2:3:champion"


@dg.op(config_schema={"how": str})
def work(context: dg.OpExecutionContext) -> None:
    """Ends as its configuration says."""
    if context.op_config["how"] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if context.op_config["how"] == "failed":
        raise RuntimeError("no such version")


@dg.job
def step() -> None:
    work()


def run(instance: dg.DagsterInstance, how: str) -> None:
    tags = {TAG: NAME, PROCESS: this_process()}
    step.execute_in_process(instance=instance, run_config=told(how), tags=tags, raise_on_error=False)


def told(how: str) -> dict[str, Any]:
    return {"ops": {"work": {"config": {"how": how}}}}


@pytest.fixture
def instance(tmp_path: Path):
    with instance_at(tmp_path / "home") as instance:
        yield instance


def test_what_fails_by_itself_is_given_up_after_three_times(instance: dg.DagsterInstance) -> None:
    for _ in range(TRIES):
        assert not tried(instance, TAG, NAME).given_up
        run(instance, "failed")
    state = tried(instance, TAG, NAME)
    assert state.given_up == f"failed 3 times, at last in run {state.failed[0][:8]}"
    assert (state.in_vain, state.under_way, state.killed) == (3, False, ())


def test_a_run_that_was_killed_is_no_failure_of_the_work(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.assets.test_once import *\n"
        "run(instance_at(Path(sys.argv[1])), 'killed')"
    )
    child = subprocess.run([sys.executable, "-c", code, str(tmp_path / "home")], check=False)
    assert child.returncode == -signal.SIGKILL
    assert tried(instance, TAG, NAME).under_way
    assert len(end_dead_runs(instance)) == 1
    state = tried(instance, TAG, NAME)
    assert (len(state.killed), state.failed, state.under_way) == (1, (), False)
    run(instance, "done")
    assert tried(instance, TAG, NAME).done


def test_one_that_was_killed_before_it_began_is_not_under_way_for_ever(instance: dg.DagsterInstance) -> None:
    """The process ended after Dagster had recorded the run and before the first event of it."""
    gone = this_process() + "0"  # this process's number, and a start that was another's
    for count in range(1, KILLED + 1):
        assert not tried(instance, TAG, NAME).given_up
        instance.create_run_for_job(step, run_config=told("done"), tags={TAG: NAME, PROCESS: gone})
        assert tried(instance, TAG, NAME).under_way
        assert len(end_dead_runs(instance)) == 1
        assert tried(instance, TAG, NAME).in_vain == count
    assert "was killed, or never began, 10 times" in tried(instance, TAG, NAME).given_up
