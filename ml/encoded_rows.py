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
from ml.rows import Rows, StreamedRows
from ml.running import Running
from ml.spec import ModelSpec
from ml.spill import spill
from ml.task import Target


@contextmanager
def encoded_rows(
    spec: ModelSpec, encoding: Encoding, target: Target, device: torch.device, running: Running
) -> Iterator[Callable[[Rows, str], Source]]:
    """Give a function that encodes this process's share of rows, named "train" or "validation".

    Files live as long as the context; those that a killed process left are written anew.
    """
    world = running.world
    folder = running.work or Path(tempfile.gettempdir()) / f"headwater-{spec.name}"
    made: list[Path] = []

    def targets(rows: pl.DataFrame) -> pl.Series:
        return (rows[spec.outcome.label].cast(pl.Float64) - target.center) / target.spread

    def source(rows: Rows, name: str) -> Source:
        if isinstance(rows, StreamedRows):
            made.append(folder / f"{name}-{world.rank}")
            budget, learns = budget_bytes(running.memory_mb, device), name == "train"
            seed = spec.training.seed
            return spill(encoding, rows, targets, made[-1], budget, device, seed, learns, world, running.say)
        assert isinstance(rows, pl.DataFrame)
        own = rows if world.alone else rows.gather_every(world.size, world.rank)
        return Resident(encoded(encoding, own, targets(own)).to(device), spec.training.seed)

    try:
        yield source
    finally:
        for path in made:
            shutil.rmtree(path, ignore_errors=True)
