"""Which rows of each global batch a process learns from, when several train one model.

Here: arithmetic only. Row i belongs to process i % size; each takes its part of every batch, so that there are as
many steps, of as many rows, as for one process alone.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Shares:
    """`rows` in all, cut into global batches of `batch` rows among `size` processes; this one is `rank`."""

    rows: int
    batch: int
    rank: int = 0
    size: int = 1

    def __post_init__(self) -> None:
        if self.rows < self.size:
            raise ValueError(f"{self.rows} training rows for {self.size} processes; start at most one a row")

    @property
    def steps(self) -> int:
        """Steps of an epoch, the same for all processes."""
        return math.ceil(self.rows / self.batch)

    def bound(self, step: int, rank: int | None = None) -> int:
        """Return how many of a process's rows come before `step`."""
        return len(range(self.rank if rank is None else rank, min(step * self.batch, self.rows), self.size))

    def sizes(self, start: int) -> Iterator[int]:
        """Yield this process's rows of each step from `start` on."""
        for step in range(start, self.steps):
            yield self.bound(step + 1) - self.bound(step)

    def weight(self, step: int) -> float:
        """Return what the mean over this process's rows weighs, so that the processes' mean is the batch's."""
        taken = [self.bound(step + 1, rank) - self.bound(step, rank) for rank in range(self.size)]
        return taken[self.rank] * self.size / sum(taken)
