"""A retraining is killed at random, training and all: it is done all the same, and no part of it twice."""

import os
import random
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from assets.drill_registry import move_registry
from assets.drill_serving import served as serve
from checks.required import required_checks
from ml.clock import ReplayClock
from ml.trained_spec import AS_OF
from ml.verdicts import Verdict
from serving.model_repository import ModelRepository
from tests.line.conftest import ROOT, Line, some_ports

MONDAY = datetime(2013, 11, 25, tzinfo=UTC)
SEED, SHORTEST, LONGEST = 7, 8.0, 45.0  # seconds that a process lives
KILLS = 2  # a third one would give the retraining up
MODEL = "flight_delay/model"
pytestmark = pytest.mark.server


@pytest.fixture
def served(line: Line, tmp_path):
    """A served copy of the line, at a moment when three of four weeks were breached."""
    home = tmp_path / "home"
    shutil.copytree(line.home, home, ignore=shutil.ignore_patterns("logs", "reports", "warehouse.duckdb"))
    copy = Line(home, some_ports())
    move_registry(line.settings, copy.settings, "flight_delay")
    plan = ModelRepository(copy.settings.serving_home).deployed("flight_delay")
    for week in range(4):
        told = {"version": plan.champion.version, "content": f"week {week}", "summary": "a refit would have saved 4%"}
        day, breached = f"{MONDAY + timedelta(days=7 * week):%Y-%m-%d}", week != 1
        copy.platform.verdicts.record(
            [Verdict("flight_delay/performance", week, "calibration", not breached, day, False, told)]
        )
    ReplayClock(copy.settings.clock_file).set(MONDAY + timedelta(days=29))
    with serve(line.platform, copy.platform) as platform:  # its plans and online rows are the copy's own
        copy.ports["TRITON_GRPC"] = platform.settings.triton_grpc_port
        copy.ports["TRITON_METRICS"] = platform.settings.triton_metrics_port
        yield copy


def act(copy: Line, seconds: float) -> bool:
    """Let a process act; kill it, and what it started with it, after some seconds. Return whether it came to an end."""
    words = [str(copy.home), str(copy.ports["TRITON_GRPC"]), str(copy.ports["TRITON_METRICS"])]
    command = [sys.executable, "-m", "tests.line.retraining_child", *words]
    environment = {**copy.env, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        assert child.wait(seconds) == 0
        return True
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return False


def test_a_retraining_killed_at_any_moment_is_done_and_no_part_of_it_twice(served):
    chance = random.Random(SEED)
    before = {version.version for version in served.platform.registry.versions("flight_delay")}
    lived = [round(chance.uniform(SHORTEST, LONGEST), 1) for _ in range(KILLS)]
    told = f"killed after {lived} s"
    assert any([act(served, seconds) for seconds in lived]) or act(served, 400), told

    events = served.platform.loop_log.rows("flight_delay")["event"].to_list()
    assert events[:2] in (["retrain", "trained"], ["retrain", "refused"]), told
    assert [event for event in events[2:] if event not in ("held", "shadow")] == [], told
    (version,) = {v.version for v in served.platform.registry.versions("flight_delay")} - before
    tags = served.platform.registry.version("flight_delay", version).tags
    assert "a refit would have saved 4%" in tags["retraining_reason"], told
    history = served.platform.lake.history("flight_delay/training_set")
    assert len([commit for commit in history if commit["metadata"].get(AS_OF)]) == 1, told
    verdicts = served.platform.verdicts.rows(MODEL).filter(version=int(version))
    assert sorted(verdicts["check"]) == sorted(required_checks(MODEL)), told
    plans = ModelRepository(served.settings.serving_home).history("flight_delay")
    begun = [plan.revision for plan in plans if plan.change.action.startswith("begin")]
    assert len(begun) == (events[1] == "trained"), told
