import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from ml.evaluation import evaluate_binary
from ml.lake import Lake
from ml.models.flight_delay import FLIGHT_DELAY
from ml.registry import Registry
from ml.scoring import score
from tests.ml.synthetic import training_rows
from tests.ml.train_command import TABLE, command

ROWS = training_rows(FLIGHT_DELAY, count=3000)
RECORDED = {"content": "c0ffee", "rows": ROWS.height}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    lake = Lake(folder / "lake")
    lake.replace(TABLE, ROWS, metadata=RECORDED)
    one_class = ROWS.with_columns(pl.lit(0, dtype=pl.Int64).alias("arrived_late"))
    lake.replace(TABLE, one_class, metadata={})
    lake.replace(TABLE, pl.concat([ROWS] * 30), metadata={})
    return folder


def test_one_command_leaves_a_registered_proved_and_traceable_version(home):
    done = subprocess.run(command(home), capture_output=True, text=True, check=True)
    result = json.loads((home / "out" / "result.json").read_text())
    registry = Registry(f"sqlite:///{home}/mlflow/mlflow.db", home / "artifacts")
    version = registry.newest("flight_delay")
    assert result["version"] == version.version
    assert result["onnx"] == str(registry.onnx_path(version))
    assert result["onnx_difference"] <= 1e-5
    assert version.training_set_version == 0
    assert version.tags["training_set_hash"] == "c0ffee"
    assert json.loads(version.tags["training_set_provenance"]) == RECORDED
    assert {"git_commit", "git_dirty", "lock_hash"} <= set(version.tags)
    assert version.metrics["test_roc_auc"] == pytest.approx(result["test_roc_auc"])
    run = registry.client.get_run(version.run_id)
    assert run.data.params["training.seed"] == str(FLIGHT_DELAY.training.seed)
    assert "CPU" in run.data.tags["hardware"]
    assert "epoch 1/" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("registered flight_delay version 1: test ROC AUC 0.")


def test_the_kept_test_predictions_are_those_of_the_registered_file(home):
    registry = Registry(f"sqlite:///{home}/mlflow/mlflow.db", home / "artifacts")
    version = registry.newest("flight_delay")
    kept = pl.read_parquet(registry.artifact(version, "test_predictions.parquet"))
    assert kept.columns == [
        *("row_id", "prediction_time", "label", "probability"),
        *("carrier", "origin", "dest", "scheduled_departure_local_hour"),
    ]
    rows = kept.join(ROWS, left_on="row_id", right_on="flight_id", maintain_order="left", suffix="_asked")
    assert (kept["probability"] - score(registry.onnx_path(version), rows)).abs().max() < 1e-6
    found = evaluate_binary(kept["label"], kept["probability"])
    assert found.roc_auc == pytest.approx(version.metrics["test_roc_auc"])


def test_rows_that_do_not_fit_are_trained_on_from_disk_and_proved_all_the_same(home):
    done = subprocess.run(command(home, memory_mb="0.05", out=str(home / "disk")), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "MiB encoded, 0.05 MiB are allowed: they do not fit and are read from disk" in done.stdout
    assert "rows to disk, 100%" in done.stdout
    result = json.loads((home / "disk" / "result.json").read_text())
    registry = Registry(f"sqlite:///{home}/mlflow/mlflow.db", home / "artifacts")
    version = registry.version("flight_delay", result["version"])
    kept = pl.read_parquet(registry.artifact(version, "test_predictions.parquet"))
    assert evaluate_binary(kept["label"], kept["probability"]).roc_auc == pytest.approx(result["test_roc_auc"])
    assert not list((home / "disk").glob("checkpoint/*"))


@pytest.mark.parametrize(
    ("version", "flags", "message"),
    [
        (1, {}, "train window .* has only the class 0"),
        (9, {}, "at version 9 cannot be read"),
        (0, {"model": "nothing"}, "no model 'nothing'"),
        (0, {"training-set": "/nowhere/training_set"}, "materialize it first"),
    ],
)
def test_expected_failures_are_one_clear_line(home, version, flags, message):
    done = subprocess.run(command(home, version, **flags), capture_output=True, text=True)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert re.search(message, done.stderr)


def _started(command: list[str]) -> subprocess.Popen:
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("epoch"):
            return child
    raise AssertionError(child.stderr.read() if child.stderr else "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_promptly_when_asked_and_registers_nothing(home, number):
    registry = Registry(f"sqlite:///{home}/mlflow/mlflow.db", home / "artifacts")
    before = len(registry.versions("flight_delay"))
    child = _started(command(home, version=2))
    asked = time.monotonic()
    child.send_signal(number)
    child.communicate(timeout=20)
    assert child.returncode == 128 + number
    assert time.monotonic() - asked < 15
    assert len(registry.versions("flight_delay")) == before


def test_a_killed_parent_does_not_leave_it_running(home):
    launch = f"import subprocess; subprocess.run({command(home, version=2)!r})"
    parent = _started([sys.executable, "-c", launch])
    (child,) = (int(pid) for pid in Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split())
    parent.kill()
    parent.communicate(timeout=20)
    _wait_for_end(child, seconds=8)


def _wait_for_end(pid: int, seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (ProcessLookupError, FileNotFoundError):
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError(f"process {pid} outlived its parent by {seconds} s")
