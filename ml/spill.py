"""Encoded rows on disk, for training sets larger than memory: written once in random order, then read by partition.

Here: the files and how an epoch walks over them. Not here: whether rows fit (ml/memory.py) and rows that stay in
memory (ml/batches.py).
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ml.batches import BLOCK_ROWS, Batch, encoded, generator
from ml.encoding import Encoding
from ml.memory import MIB
from ml.objective import Objective
from ml.rows import Rows
from ml.world import World

Say = Callable[[str], None]

PARTITION_SHARE = 0.25  # of the budget that a partition takes: it is held raw, as tensors and as shuffled block
_SLICE_SHARE = 0.05  # of the budget that a slice of raw rows takes, about
_LEAST_SLICE, _MOST_SLICE = 16_384, 262_144
_PROGRESS = 20  # lines while encoding


@dataclass(frozen=True)
class Spilled:
    """Rows of one process in partition files, whose records hold times, categories, numbers and target."""

    paths: tuple[Path, ...]
    counts: tuple[int, ...]
    record: np.dtype
    device: torch.device
    seed: int

    @property
    def place(self) -> str:
        """Where the rows are, which decides their order."""
        return f"{len(self.paths)} files"

    def __len__(self) -> int:
        return sum(self.counts)

    def shuffled(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See Source: partitions in random order, and rows in random order within each."""
        cpu = torch.device("cpu")
        for number in torch.randperm(len(self.paths), generator=generator(cpu, self.seed, epoch)).tolist():
            skipped = min(start, self.counts[number])
            start -= skipped
            if skipped == self.counts[number]:
                continue
            rows = self._read(number)
            order = torch.randperm(len(rows), generator=generator(cpu, self.seed, epoch, number))
            for index in order[skipped:].split(BLOCK_ROWS):
                yield rows.take(index).to(self.device)

    def in_order(self) -> Iterator[Batch]:
        """See Source."""
        for number in range(len(self.paths)):
            yield self._read(number).to(self.device)

    def _read(self, number: int) -> Batch:
        records = np.fromfile(self.paths[number], self.record)
        return Batch(
            torch.from_numpy(records["categorical"].astype(np.int64)),
            torch.from_numpy(np.ascontiguousarray(records["numeric"])),
            torch.from_numpy(np.ascontiguousarray(records["times"])),
            torch.from_numpy(np.ascontiguousarray(records["target"])),
        )


def spill(
    encoding: Encoding,
    rows: Rows,
    objective: Objective,
    folder: Path,
    budget: int,
    device: torch.device,
    seed: int,
    shuffle: bool,
    world: World,
    say: Say,
) -> Spilled:
    """Write this process's `rows` (row i of rank i % size) to partition files in `folder`, at most a share of `budget`.

    With `shuffle`, a row goes to a random partition, else they are filled one after another. Raises OSError with the
    numbers if the disk has no room.
    """
    record = _record(encoding, objective)
    own = len(range(world.rank, rows.height, world.size))
    most = max(int(budget * PARTITION_SHARE) // _held_bytes(record), 1)
    partitions = max(-(-own // most), 1)
    _require_room(folder, rows.height * record.itemsize, own * record.itemsize, world)
    paths = tuple(folder / f"{number:05}.rows" for number in range(partitions))
    counts, dealt, seen, told = [0] * partitions, 0, 0, 0
    random = np.random.default_rng(seed)
    for part in rows.iter_slices(_slice_rows(budget)):
        mine = part.gather_every(world.size, (world.rank - seen) % world.size) if world.size > 1 else part
        seen += part.height
        records = _records(encoded(encoding, mine, objective.targets(mine)), record)
        order = random.permutation(len(records)) if shuffle else np.arange(len(records))
        place = (dealt + np.arange(len(records))) % partitions if shuffle else (dealt + np.arange(len(records))) // most
        dealt += len(records)
        for number in np.unique(place):
            chosen = records[order[place == number]]
            _append(paths[number], chosen, folder)
            counts[number] += len(chosen)
        if seen * _PROGRESS // rows.height > told:
            told = seen * _PROGRESS // rows.height
            say(f"encoded {seen:,} of {rows.height:,} rows to disk, {seen / rows.height:.0%}")
    return Spilled(paths, tuple(counts), record, device, seed)


def _record(encoding: Encoding, objective: Objective) -> np.dtype:
    return np.dtype(
        [
            ("times", "<f8", (len(encoding.times),)),
            ("categorical", "<i4", (len(encoding.categorical),)),
            ("numeric", "<f4", (len(encoding.numeric),)),
            ("target", "<f4", (objective.width,)),
        ]
    )


def _held_bytes(record: np.dtype) -> int:
    """Return what a record takes as tensors, in bytes: categories twice as wide."""
    return record.itemsize + record["categorical"].itemsize


def _slice_rows(budget: int) -> int:
    return min(max(int(budget * _SLICE_SHARE) // 512, _LEAST_SLICE), _MOST_SLICE)


def _records(batch: Batch, record: np.dtype) -> NDArray:
    records = np.empty(len(batch), record)
    for name in ("times", "categorical", "numeric", "target"):
        records[name] = getattr(batch, name).numpy()
    return records


def _append(path: Path, records: NDArray, folder: Path) -> None:
    try:
        with path.open("ab") as file:
            file.write(records.tobytes())
    except OSError as error:
        raise OSError(f"encoded rows cannot be written to {folder} ({error.strerror}); {_REMEDY}") from error


_REMEDY = "free some room, give another --checkpoint folder, or more --memory-mb if they fit in memory"


def _require_room(folder: Path, whole: int, own: int, world: World) -> None:
    """Empty the folder and refuse if it cannot hold the rows; all processes of this machine write to it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    needed = whole if world.size > 1 else own
    if needed > free:
        raise OSError(
            f"training needs {needed / MIB:,.1f} MiB in {folder} for encoded rows, {free / MIB:,.1f} MiB are free; "
            f"{_REMEDY}"
        )
