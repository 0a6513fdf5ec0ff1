"""A training that is killed goes on from its checkpoint and ends as if nothing had happened."""

import json
import random
import re
import signal
import subprocess
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from ml import checkpoint
from ml.checkpoint import STATE_FILE
from ml.lake import Lake
from ml.models.flight_delay import FLIGHT_DELAY
from ml.registry import Registry
from ml.running import Running
from ml.scoring import score
from ml.split import split_rows
from ml.training import fit
from tests.ml.synthetic import SPEC, training_rows
from tests.ml.train_command import command

CPU = torch.device("cpu")
PARTS = split_rows(SPEC, training_rows())
KILLS = 3


class Stop(Exception):
    pass


def fitted(running, spec=SPEC, stop_after=None):
    def progress(epoch):
        if epoch.number == stop_after:
            raise Stop

    return fit(spec, PARTS.train, PARTS.validation, CPU, progress, running=running)


def interrupted(running, after=2):
    with pytest.raises(Stop):
        fitted(running, stop_after=after)
    return running


def same(first, second):
    pairs = zip(first.network.state_dict().values(), second.network.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.fixture
def told():
    return []


@pytest.fixture
def running(tmp_path, told):
    return Running(checkpoint=tmp_path / "checkpoint", training_set="c0ffee", say=told.append)


def test_a_training_that_goes_on_gives_the_weights_of_one_never_stopped_bit_for_bit(running, told):
    whole = fitted(Running())
    found = fitted(interrupted(running))
    assert told == ["goes on from a checkpoint: 2 epochs and 0 steps are done"]
    assert same(whole, found)
    assert [epoch.validation_loss for epoch in found.epochs] == [epoch.validation_loss for epoch in whole.epochs]
    assert found.stopped_by == whole.stopped_by


def test_it_goes_on_in_the_middle_of_an_epoch(running, told, monkeypatch):
    eager = replace(running, checkpoint_seconds=0.0)
    whole, write, writes = fitted(Running()), checkpoint.write_whole, []

    def stop_at_the_thirteenth(path, content):
        writes.append(path)
        if len(writes) == 13:  # the tenth write ends the first epoch of ten steps
            raise Stop
        write(path, content)

    monkeypatch.setattr(checkpoint, "write_whole", stop_at_the_thirteenth)
    with pytest.raises(Stop):
        fitted(eager)
    monkeypatch.undo()
    assert same(whole, fitted(running))
    assert told == ["goes on from a checkpoint: 1 epochs and 2 steps are done"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"training_set": "other rows"}, "training set"),
        ({"spec": SPEC.model_copy(update={"training": SPEC.training.model_copy(update={"seed": 8})})}, "spec"),
    ],
)
def test_a_checkpoint_of_another_run_is_left_alone(running, told, change, word):
    interrupted(running)
    spec = change.pop("spec", SPEC)
    found = fitted(replace(running, **change), spec)
    assert len(told) == 1
    assert f"is of another run (other {word}); training starts anew" in told[0]
    assert same(found, fitted(Running(), spec))


def test_a_damaged_checkpoint_is_said_and_left_alone(running, told):
    interrupted(running)
    path = running.checkpoint / STATE_FILE
    path.write_bytes(path.read_bytes()[:1000])
    assert same(fitted(running), fitted(Running()))
    assert "cannot be read" in told[0]


def test_the_time_allowed_counts_all_tries(running, told):
    long = SPEC.model_copy(
        update={"training": SPEC.training.model_copy(update={"epochs": 100_000, "patience": 99_999})}
    )
    found = fitted(replace(running, max_seconds=0.5), long)
    assert found.stopped_by == "time"
    assert told[-1].startswith("the time allowed, 0.5 s over all tries, cut training in epoch")
    again = fitted(replace(running, max_seconds=0.5), long)
    assert len(again.epochs) == len(found.epochs)
    assert len(fitted(replace(running, max_seconds=again.seconds + 0.5), long).epochs) > len(found.epochs)


def test_a_folder_that_cannot_be_written_costs_a_line_and_not_the_training(running, told):
    running.checkpoint.write_text("a file where the folder should be")
    assert same(fitted(running), fitted(Running()))
    assert len(told) == 1
    assert "training goes on without" in told[0]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    Lake(folder / "lake").replace("flight_delay/training_set", training_rows(FLIGHT_DELAY, count=15_000), metadata={})
    return folder


def killed_after(home, seconds, **flags):
    """Start training, kill it so long after it read its rows; return its lines, None if it ended before."""
    child = subprocess.Popen(command(home, **flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = [child.stdout.readline()]
    threading.Timer(seconds, child.kill).start()
    lines += child.stdout.readlines()
    assert child.wait() in (-signal.SIGKILL, 0), child.stderr.read()
    return lines if child.returncode else None


def test_asked_to_end_within_an_epoch_it_saves_first_and_goes_on_from_there(home):
    flags = {"out": str(home / "asked"), "checkpoint-seconds": "1000"}
    child = subprocess.Popen(command(home, **flags), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not child.stdout.readline().startswith("epoch 1/"):
        assert child.poll() is None, child.stderr.read()
    child.send_signal(signal.SIGTERM)
    said, _ = child.communicate(timeout=20)
    assert child.returncode == 128 + signal.SIGTERM
    kept = re.search(r"asked to end: ([1-3] epochs and [1-9]\d* steps) are in the checkpoint", said)
    assert kept, said
    done = subprocess.run(command(home, **flags), check=True, capture_output=True, text=True)
    assert f"goes on from a checkpoint: {kept[1]} are done" in done.stdout


def test_killed_at_random_and_started_again_it_gives_the_same_model(home):
    flags = {"out": str(home / "whole")}
    subprocess.run(command(home, **flags), check=True, capture_output=True)
    flags = {"out": str(home / "killed"), "checkpoint-seconds": "0.1"}
    seed = random.randrange(1000)
    moments, kills = random.Random(seed), 0
    for _ in range(KILLS):
        kills += killed_after(home, moments.uniform(1.0, 9.0), **flags) is not None
    done = subprocess.run(command(home, **flags), check=True, capture_output=True, text=True)
    assert kills >= 1, f"seed {seed}: it always ended before it was killed"
    first, second = (json.loads((home / name / "result.json").read_text()) for name in ("whole", "killed"))
    for name in first:
        if name.startswith(("test_", "validation_")):
            assert first[name] == pytest.approx(second[name], abs=1e-6), f"{name}, seed {seed}, {done.stdout}"
    registry = Registry(f"sqlite:///{home}/mlflow/mlflow.db", home / "artifacts")
    old, new = (registry.version("flight_delay", found["version"]) for found in (first, second))
    rows = training_rows(FLIGHT_DELAY, count=500, seed=9)
    np.testing.assert_array_equal(score(registry.onnx_path(old), rows), score(registry.onnx_path(new), rows))
    assert not (home / "killed" / "checkpoint").exists()
