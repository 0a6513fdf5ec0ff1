"""Rows of a training set, encoded where they fit: on the device, or in files.

Here: the choice and this process's share of the rows. Not here: either place (ml/batches.py, ml/spill.py).
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import torch

from ml.batches import Resident, Source, encoded
from ml.encoding import Encoding
from ml.memory import budget_bytes
from ml.objective import Objective
from ml.rows import Rows, StreamedRows
from ml.running import Running
from ml.spec import ModelSpec
from ml.spill import spill


@contextmanager
def encoded_rows(
    spec: ModelSpec, encoding: Encoding, objective: Objective, device: torch.device, running: Running
) -> Iterator[Callable[[Rows, str], Source]]:
    """Give a function that encodes this process's share of rows, named "train" or "validation".

    Files live as long as the context; those that a killed process left are written anew.
    """
    world = running.world
    folder = running.work or Path(tempfile.gettempdir()) / f"headwater-{spec.name}"
    made: list[Path] = []

    def source(rows: Rows, name: str) -> Source:
        if isinstance(rows, StreamedRows):
            made.append(folder / f"{name}-{world.rank}")
            budget, learns = budget_bytes(running.memory_mb, device), name == "train"
            seed = spec.training.seed
            return spill(encoding, rows, objective, made[-1], budget, device, seed, learns, world, running.say)
        assert isinstance(rows, pl.DataFrame)
        own = rows if world.alone else rows.gather_every(world.size, world.rank)
        return Resident(encoded(encoding, own, objective.targets(own)).to(device), spec.training.seed)

    try:
        yield source
    finally:
        for path in made:
            shutil.rmtree(path, ignore_errors=True)
