"""The processes that train one model together: started by torchrun, joined here.

Here: who is who, and what they tell each other besides gradients. Not here: which rows each has (ml/shares.py) and
how gradients are averaged (ml/step.py).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

TIMEOUT_SECONDS = 600.0
_NETWORK_WORDS = ("gloo", "nccl", "connection", "timed out", "timeout", "socket", "peer", "store")


@dataclass(frozen=True)
class World:
    """`size` processes, of which this is `rank`. `control` is their group for short messages between hosts."""

    rank: int = 0
    size: int = 1
    control: Any = None

    @property
    def alone(self) -> bool:
        """Whether there is one process only."""
        return self.size == 1

    @property
    def leads(self) -> bool:
        """Whether this process decides, writes and reports."""
        return self.rank == 0

    def same(self, value: Any) -> Any:
        """Return what the leading process gave; all wait for it."""
        if self.alone:
            return value
        box = [value]
        with self.guarded():
            dist.broadcast_object_list(box, src=0, group=self.control)
        return box[0]

    def all(self, value: Any) -> list[Any]:
        """Return what each process gave, in order of rank."""
        if self.alone:
            return [value]
        found: list[Any] = [None] * self.size
        with self.guarded():
            dist.all_gather_object(found, value, group=self.control)
        return found

    def interleaved(self, part: Tensor) -> Tensor:
        """Return the values of all rows, [N] on the CPU, of which row i is held by process i % size."""
        parts = self.all(part.cpu())
        if self.alone:
            return parts[0]
        whole = torch.empty(sum(map(len, parts)), dtype=part.dtype)
        for rank, found in enumerate(parts):
            whole[rank :: self.size] = found
        return whole

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Say in one line that another process died or hangs, where torch's collectives fail for that."""
        try:
            yield
        except RuntimeError as error:
            if self.alone or not any(word in str(error).lower() for word in _NETWORK_WORDS):
                raise
            raise ConnectionError(
                f"process {self.rank} of {self.size} lost another one, which died or did not answer in time (see its "
                f"output); start again to go on from the checkpoint ({str(error).strip().splitlines()[0][:200]})"
            ) from error


ALONE = World()


@contextmanager
def joined(use_cuda: bool, timeout: float, environment: Mapping[str, str] = os.environ) -> Iterator[World]:
    """Join the processes that torchrun started (its variables RANK, WORLD_SIZE, LOCAL_RANK); alone without it.

    A process that waits longer than `timeout` seconds for another raises ConnectionError.
    """
    size = int(environment.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    rank, patience = int(environment["RANK"]), timedelta(seconds=timeout)
    if use_cuda:
        torch.cuda.set_device(int(environment["LOCAL_RANK"]))
    with World(rank, size).guarded():
        dist.init_process_group("nccl" if use_cuda else "gloo", timeout=patience)
        # Short messages go between hosts: on the device they would make it wait.
        control = dist.new_group(backend="gloo", timeout=patience)
    try:
        yield World(rank, size, control)
    finally:
        dist.destroy_process_group()
