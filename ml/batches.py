"""Encoded rows on the device, and how an epoch walks over them in random order.

Here: batches, rows that stay in memory (`Resident`), cutting blocks of rows into batches. Not here: rows that
do not fit (ml/spill.py), encoding itself (ml/encoding.py), which rows a process has (ml/shares.py).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml.encoding import Encoding, to_arrays
from ml.network import TabularNetwork

# A block is gathered at once and then cut: one random read of many rows costs less than many of few.
BLOCK_ROWS = 65_536
_EVALUATION_ROWS = 32_768


@dataclass(frozen=True)
class Batch:
    """Rows on a device: the network's three inputs and the targets, float32 [N, 1 + A] (ml/objective.py)."""

    categorical: Tensor
    numeric: Tensor
    times: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def take(self, index: Tensor) -> "Batch":
        """Return a copy of the rows at `index`, int64 [M]."""
        return Batch(*(part.index_select(0, index) for part in self._parts()))

    def cut(self, start: int, end: int) -> "Batch":
        """Return the rows from `start` to before `end`, without copying."""
        return Batch(*(part[start:end] for part in self._parts()))

    def to(self, device: torch.device) -> "Batch":
        """Return the rows on `device`."""
        return Batch(*(part.to(device) for part in self._parts()))

    @staticmethod
    def joined(batches: "list[Batch]") -> "Batch":
        """Return the rows of all batches, in order."""
        if len(batches) == 1:
            return batches[0]
        return Batch(*(torch.cat([getattr(b, field.name) for b in batches]) for field in fields(Batch)))

    def _parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.categorical, self.numeric, self.times, self.target


class Source(Protocol):
    """Encoded rows that can be walked over, in memory or not."""

    @property
    def place(self) -> str:
        """Where the rows are, which decides their order."""
        ...

    def __len__(self) -> int: ...

    def shuffled(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield all rows but the first `start` in blocks, in the random order of `epoch`."""
        ...

    def in_order(self) -> Iterator[Batch]:
        """Yield all rows in their own order, in blocks."""
        ...


@dataclass(frozen=True)
class Resident:
    """Rows that stay on the device. An epoch is one permutation of them, which `seed` and epoch decide alone."""

    rows: Batch
    seed: int

    @property
    def place(self) -> str:
        """Where the rows are, which decides their order."""
        return "memory"

    def __len__(self) -> int:
        return len(self.rows)

    def shuffled(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """See Source."""
        device = self.rows.target.device
        order = torch.randperm(len(self.rows), generator=generator(device, self.seed, epoch), device=device)
        for index in order[start:].split(BLOCK_ROWS):
            yield self.rows.take(index)

    def in_order(self) -> Iterator[Batch]:
        """See Source."""
        for start in range(0, len(self.rows), _EVALUATION_ROWS):
            yield self.rows.cut(start, start + _EVALUATION_ROWS)


def cut_blocks(blocks: Iterable[Batch], sizes: Iterable[int]) -> Iterator[Batch]:
    """Cut a stream of blocks into batches of the given sizes, across their borders where need be."""
    stream = iter(blocks)
    block, at = next(stream), 0
    for size in sizes:
        parts = [block.cut(at, at + size)]
        at += len(parts[0])
        while (lacking := size - sum(map(len, parts))) > 0:
            block = next(stream)
            parts.append(block.cut(0, lacking))
            at = len(parts[-1])
        yield Batch.joined([part for part in parts if len(part)] or parts)


def encoded(encoding: Encoding, rows: pl.DataFrame, targets: NDArray[np.float32]) -> Batch:
    """Return rows with training-set columns and their targets [N, 1 + A] as tensors in memory."""
    arrays = to_arrays(encoding, rows)
    return Batch(
        torch.from_numpy(arrays.categorical),
        torch.from_numpy(arrays.numeric),
        torch.from_numpy(arrays.times),
        torch.from_numpy(targets),
    )


@torch.no_grad()
def outputs(network: TabularNetwork, rows: Source) -> Tensor:
    """Return the network's outputs, float32 [N], of all rows in their order."""
    network.eval()
    return torch.cat([network(part.categorical, part.numeric, part.times) for part in rows.in_order()])


def generator(device: torch.device, *numbers: int) -> torch.Generator:
    """Return a random generator that depends on `numbers` alone, so that nothing of it needs to be kept."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 6_364_136_223_846_793_005 + number + 1_442_695_040_888_963_407) % 2**63
    return torch.Generator(device).manual_seed(mixed)
