"""Several processes train one model as one process would, and end together."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from ml.lake import Lake
from ml.models.flight_delay import FLIGHT_DELAY
from ml.registry import Registry
from ml.shares import Shares
from ml.world import ALONE, World
from tests.ml.synthetic import training_rows
from tests.ml.train_command import arguments, command

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]

# Two processes, of which the second dies, or stops answering, before the first asks it something.
LOST = """
import os, signal, sys, torch, ml.world
from ml.world import joined
try:
    with joined(False, timeout=3.0) as world:
        world.same(1)
        if world.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL if sys.argv[1] == "dies" else signal.SIGSTOP)
        world.same(2)
except ConnectionError as error:
    print(error, flush=True)
    os._exit(3)
"""

# One process of several fits on all rows at a step, without dropout: order and random numbers no longer matter.
FIT = """
import sys, torch
from ml.running import Running
from ml.spec import NetworkSettings, TrainingSettings
from ml.split import split_rows
from ml.training import fit
from ml.world import joined
from tests.ml.synthetic import SPEC, training_rows
spec = SPEC.model_copy(update={
    "network": NetworkSettings(hidden=(16,), bins=8, min_category_count=5, dropout=0.0),
    "training": TrainingSettings(epochs=20, batch_size=100_000, learning_rate=1e-2, patience=20),
})
parts = split_rows(spec, training_rows(count=2001))
with joined(False, timeout=60.0) as world:
    model = fit(spec, parts.train, parts.validation, torch.device("cpu"), running=Running(world=world))
    torch.save(model.network.state_dict(), f"{sys.argv[1]}/{world.size}-{world.rank}.pt")
"""


@pytest.mark.parametrize(("rows", "batch", "size"), [(1000, 64, 1), (1000, 64, 2), (1003, 64, 3), (7, 2, 4), (5, 8, 4)])
def test_each_batch_is_shared_whole_and_means_add_up(rows, batch, size):
    shares = [Shares(rows, batch, rank, size) for rank in range(size)]
    taken = np.array([list(share.sizes(0)) for share in shares])
    assert [sum(sizes) for sizes in taken] == [len(range(rank, rows, size)) for rank in range(size)]
    assert taken.shape == (size, shares[0].steps)
    assert (taken.sum(axis=0)[:-1] == batch).all()
    weights = np.array([[share.weight(step) for step in range(share.steps)] for share in shares])
    np.testing.assert_allclose(weights, taken * size / taken.sum(axis=0))


def test_more_processes_than_rows_are_refused():
    with pytest.raises(ValueError, match="3 training rows for 4 processes"):
        Shares(3, 8, 0, 4)


def test_a_failure_that_has_nothing_to_do_with_other_processes_stays_what_it_is():
    with pytest.raises(RuntimeError, match="shapes"), World(0, 2).guarded():
        raise RuntimeError("shapes do not fit")
    assert torch.equal(ALONE.interleaved(torch.arange(3)), torch.arange(3))


def _started(code, size, *words):
    environment = {**os.environ, "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, *words],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def test_where_order_and_dropout_do_not_matter_two_processes_give_the_weights_of_one(tmp_path):
    for size in (1, 2):
        for child in _started(FIT, size, str(tmp_path)):
            _, err = child.communicate(timeout=200)
            assert child.returncode == 0, err
    one, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    for name, weights in one.items():
        torch.testing.assert_close(first[name], weights, atol=1e-4, rtol=1e-3)
        assert torch.equal(first[name], second[name])


@pytest.mark.parametrize("way", ["dies", "hangs"])
def test_a_process_that_loses_another_ends_with_one_clear_line(way):
    children = _started(LOST, 2, way)
    try:
        out, err = children[0].communicate(timeout=120)
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert children[0].returncode == 3, err
    assert out.startswith("process 0 of 2 lost another one, which died or did not answer in time")
    assert "start again to go on from the checkpoint" in out


def test_two_processes_train_the_model_of_one_within_noise_and_go_on_after_a_kill(tmp_path):
    Lake(tmp_path / "lake").replace("flight_delay/training_set", training_rows(FLIGHT_DELAY, 8_001), metadata={})
    subprocess.run(command(tmp_path, out=str(tmp_path / "one")), check=True, capture_output=True)
    words = arguments(tmp_path, out=str(tmp_path / "two"), **{"checkpoint-seconds": "0"})
    first = subprocess.Popen([*TORCHRUN, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in first.stdout:
        if line.startswith("epoch 2/"):
            break
    first.kill()  # the processes end with torchrun
    first.communicate(timeout=60)
    done = subprocess.run([*TORCHRUN, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum(line.startswith("training set") for line in lines) == 1
    assert any(line.startswith("goes on from a checkpoint: ") for line in lines)
    one, two = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two"))
    # Some thirty steps on 2,000 test rows: the order of rows and dropout alone move the score by hundredths. That the
    # gradients are those of one process is what the test of the weights shows.
    assert abs(one["test_roc_auc"] - two["test_roc_auc"]) < 0.03
    registry = Registry(f"sqlite:///{tmp_path}/mlflow/mlflow.db", tmp_path / "artifacts")
    assert len(registry.versions("flight_delay")) == 2


def _free_port():
    import socket

    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]
