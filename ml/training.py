"""Fitting a model's network on training rows, stopped and calibrated by validation rows: the entry.

Here: rows in, FittedModel out. Not here: the loop (ml/loop.py), reading rows, MLflow, command lines (ml/train.py).
"""

from collections.abc import Callable
from dataclasses import replace

import polars as pl
import torch

from ml.checkpoint import Checkpoints
from ml.encoded_rows import encoded_rows
from ml.encoding import Encoding, learn_encoding
from ml.fingerprint import json_hash
from ml.fitted import Epoch, FittedModel
from ml.loop import Loop, Stopwatch
from ml.memory import sample_rows
from ml.network import TabularNetwork
from ml.objective import Objective, objective_of
from ml.rows import Rows, StreamedRows
from ml.running import PLAIN, Running
from ml.shares import Shares
from ml.spec import ModelSpec
from ml.step import Step
from ml.task import Target
from ml.validation import Validation

__all__ = ["Epoch", "FittedModel", "Running", "fit"]

_PARTS = {"network", "training", "features", "request", "elapsed", "split", "task", "outcome"}


def fit(
    spec: ModelSpec,
    train: Rows,
    validation: Rows,
    device: torch.device,
    progress: Callable[[Epoch], None] = lambda epoch: None,
    max_seconds: float | None = None,
    running: Running = PLAIN,
) -> FittedModel:
    """Fit `spec`'s network on `train` and calibrate it on `validation`.

    Both hold training-set columns and labels that the task can learn from (ml/split.py); StreamedRows are encoded to
    disk and read from there, an evenly spaced sample of them decides the encoding. The same rows, spec, seed,
    machine and number of processes give the same model, in one try or in many that go on from `running.checkpoint`,
    unless `max_seconds` (default: `running.max_seconds`) cut training short. All processes of `running.world` call
    this with the same arguments and get the same model. Raises FloatingPointError if the loss is no number,
    ValueError if a column is missing or cannot be an input, ConnectionError if another process is lost, OSError if
    the disk cannot hold rows that do not fit in memory.
    """
    watch = Stopwatch(running.max_seconds if max_seconds is None else max_seconds)
    world = running.world
    say = running.say if world.leads else _nothing
    running = replace(running, say=say)
    encoding, objective = world.same(_learned(spec, train, running) if world.leads else None)
    shares = Shares(train.height, spec.training.batch_size, world.rank, world.size)
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), encoded_rows(spec, encoding, objective, device, running) as source:
        learn, check = source(train, "train"), source(validation, "validation")
        torch.manual_seed(spec.training.seed)
        network = TabularNetwork(encoding, spec.network, len(objective.auxiliary)).to(device)
        # The start is the same for all processes, what they drop is not.
        torch.manual_seed(spec.training.seed + world.rank)
        step = Step(network, objective, spec.training, spec.training.epochs * shares.steps, world, say)
        identity = _identity(spec, encoding, network, (train.height, validation.height), device, running, learn.place)
        checkpoints = Checkpoints(running.checkpoint, identity, running.checkpoint_seconds, say)
        loop = Loop(spec, step, learn, shares, Validation(check, objective.task, world), world, watch, checkpoints, say)
        stopped_by = loop.run(progress if world.leads else _nothing)
    _calibrate(spec, network, objective.target, loop)
    task, spread = objective.task, objective.target.spread
    return FittedModel(network.eval(), encoding, task, spread, tuple(loop.epochs), stopped_by, watch.seconds)


def _learned(spec: ModelSpec, train: Rows, running: Running) -> tuple[Encoding, Objective]:
    """Return what training rows say about values and labels; of rows that do not fit, what a sample says."""
    rows = train
    if isinstance(train, StreamedRows):
        rows = train.sample(sample_rows(train.schema, running.memory_mb))
        running.say(f"encoding learned from {rows.height:,} of {train.height:,} rows, evenly spaced")
    assert isinstance(rows, pl.DataFrame)
    return learn_encoding(spec, rows), objective_of(spec, rows)


def _identity(
    spec: ModelSpec,
    encoding: Encoding,
    network: TabularNetwork,
    rows: tuple[int, int],
    device: torch.device,
    running: Running,
    place: str,
) -> dict[str, str]:
    """Return what must be equal for a checkpoint to be of this run, by what to call it when it is not."""
    return {
        "spec": json_hash(spec.model_dump(mode="json", include=_PARTS)),
        "training set": running.training_set,
        "rows": f"{rows[0]} to learn from, {rows[1]} to validate",
        "encoding": json_hash(encoding.model_dump(mode="json")),
        "network": json_hash({name: list(value.shape) for name, value in network.state_dict().items()}),
        "torch": str(torch.__version__),
        "device": device.type,
        "number of processes": str(running.world.size),
        "place of rows": place,
    }


def _calibrate(spec: ModelSpec, network: TabularNetwork, target: Target, loop: Loop) -> None:
    """Put the best epoch's weights into the network, and its calibration in the label's unit."""
    weights, calibration = loop.kept()
    network.load_state_dict(weights)
    network.scale.fill_(calibration.scale * target.spread)
    network.shift.fill_(calibration.shift * spec.training.shift_kept * target.spread + target.center)


def _nothing(told: object) -> None:
    """Told by all processes but the leading one."""
