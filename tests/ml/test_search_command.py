"""The search as its command runs it: workers that are killed, a search that goes on, one line on what fails."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from ml.lake import Lake
from ml.models.flight_delay import FLIGHT_DELAY
from ml.registry import Registry
from ml.search_study import open_study
from tests.ml.synthetic import training_rows

TABLE = "flight_delay/training_set"


@pytest.fixture
def home(empty_registry, tmp_path) -> Path:
    rows = training_rows(FLIGHT_DELAY, count=900)
    Lake(tmp_path / "lake").replace(TABLE, rows, metadata={"content": "c0ffee"})
    return tmp_path


def command(*words: str, model: str = "flight_delay") -> list[str]:
    return [sys.executable, "-m", "ml.search", "--model", model, *words]


def started(home: Path, *words: str) -> subprocess.Popen:
    """Start a search in a process of its own."""
    return subprocess.Popen(
        command(*words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HEADWATER_HOME": str(home)},
    )


def line_with(child: subprocess.Popen, words: str) -> str:
    for line in child.stdout:
        if words in line:
            return line
    raise AssertionError(f"{words!r} never came; {child.stderr.read()}")


def workers_of(child: subprocess.Popen) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()]


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def study_of(home: Path):
    (folder,) = (home / "search" / "flight_delay").iterdir()
    return open_study(folder, seed=1)


def begun_by(home: Path, pid: int):
    """Wait until a worker has a trial whose run is open, and return that trial."""
    study = study_of(home)
    for _ in range(1200):
        for trial in study.trials:
            if trial.user_attrs.get("worker") == pid and "run_id" in trial.user_attrs and not trial.state.is_finished():
                return trial
        time.sleep(0.02)
    raise AssertionError(f"worker {pid} has begun no trial")


def test_a_killed_worker_is_replaced_and_its_settings_are_tried_again(home):
    child = started(home, "--workers", "2", "--trials", "6", "--minutes", "5")
    line_with(child, "trial   0")
    victim = workers_of(child)[0]
    killed = begun_by(home, victim)
    os.kill(victim, signal.SIGKILL)
    out, err = child.communicate(timeout=240)
    assert child.returncode == 0, err
    assert "was killed by SIGKILL" in out
    assert "best.json" in out.splitlines()[-1]
    trials = study_of(home).trials
    assert not [trial for trial in trials if trial.state == TrialState.RUNNING]
    if trials[killed.number].state == TrialState.FAIL:  # it may have ended in the same moment
        settings = [trial.params or trial.system_attrs["fixed_params"] for trial in trials]  # one may still wait
        retried = [found for found in settings if found == killed.params]
        assert len(retried) == 2
        registry = Registry(f"sqlite:///{home}/mlflow/mlflow.db", home / "mlflow" / "artifacts")
        run = registry.client.get_run(killed.user_attrs["run_id"])
        assert (run.info.status, run.data.tags["reason"]) == ("KILLED", "its process was ended")


def test_an_ended_search_leaves_nothing_running_and_goes_on_when_run_again(home):
    for number in (signal.SIGINT, signal.SIGKILL):
        child = started(home, "--minutes", "5")
        line_with(child, "study ")
        line_with(child, "trial ")
        (worker,) = workers_of(child)
        asked = time.monotonic()
        child.send_signal(number)
        child.communicate(timeout=30)
        assert child.returncode == (130 if number == signal.SIGINT else -9)
        while running(worker):
            assert time.monotonic() - asked < 20
            time.sleep(0.05)
    before = len(study_of(home).complete)
    assert before
    child = started(home, "--minutes", "5", "--trials", "1")
    assert re.search(r"\d+ trials are there, the best has loss .*; the search goes on", line_with(child, "study "))
    _, err = child.communicate(timeout=240)
    assert child.returncode == 0, err
    study = study_of(home)
    assert not [trial for trial in study.trials if trial.state == TrialState.RUNNING]
    assert sum(bool(trial.user_attrs.get("as_it_is")) for trial in study.complete) == 1
    registry = Registry(f"sqlite:///{home}/mlflow/mlflow.db", home / "mlflow" / "artifacts")
    experiment = registry.client.get_experiment_by_name("flight_delay").experiment_id
    runs = registry.client.search_runs([experiment], filter_string="tags.`headwater.kind` = 'search'")
    assert sorted(run.info.status for run in runs) == ["FINISHED", "KILLED", "KILLED"]
    every = registry.client.search_runs([experiment])
    assert not [run for run in every if run.info.status == "RUNNING"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "nothing"], "search nothing: no model 'nothing'"),
        (["--training-set", "/nowhere/training_set"], "no table 'training_set' in the lake /nowhere; materialize it"),
        (["--folds", "99"], "99 folds do not fit model 'flight_delay'"),
        (["--tracking-uri", "sqlite:////proc/none/mlflow.db"], "registry sqlite:////proc/none/mlflow.db cannot be op"),
        (["--tracking-uri", "http://127.0.0.1:9"], "registry http://127.0.0.1:9 cannot be opened"),
    ],
)
def test_expected_failures_are_one_clear_line(home, words, message):
    started_at = time.monotonic()
    done = subprocess.run(
        command(*words, "--minutes", "1"),
        capture_output=True,
        text=True,
        env={**os.environ, "HEADWATER_HOME": str(home)},
    )
    assert done.returncode == 1, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert time.monotonic() - started_at < 150
