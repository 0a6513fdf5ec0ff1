"""Sensors driven in this process: an interrupt ends the drive, and is no reason to try the work again."""

import os
import signal
from pathlib import Path

import dagster as dg
import pytest

from assets.driver import Driver
from tests.assets.test_dead_runs import instance_at


@dg.op
def interrupted() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@dg.op
def wrong() -> None:
    raise LookupError("no such version")


def driver(instance: dg.DagsterInstance, folder: Path, op: dg.OpDefinition) -> Driver:
    job = dg.GraphDefinition("work", node_defs=[op]).to_job()

    @dg.sensor(job=job)
    def asks(context: dg.SensorEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(str(len(instance.get_runs())) if len(instance.get_runs()) < 3 else "2")

    return Driver(dg.Definitions(jobs=[job], sensors=[asks]), instance, None, folder / "log")


def test_ctrl_c_in_a_run_ends_the_drive(tmp_path: Path) -> None:
    with instance_at(tmp_path / "home") as instance:
        with pytest.raises(KeyboardInterrupt):
            driver(instance, tmp_path, interrupted).drive(["asks"])
        (run,) = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.FAILURE


def test_a_run_that_fails_does_not(tmp_path: Path) -> None:
    with instance_at(tmp_path / "home") as instance:
        done = driver(instance, tmp_path, wrong).drive(["asks"])
        assert [run.status for run in done] == [dg.DagsterRunStatus.FAILURE] * 3
