"""Whether training rows fit in memory, known before they are read.

Here: estimates and what is free. Not here: what is done when they do not fit (ml/spill.py).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from ml.encoding import model_inputs
from ml.spec import ModelSpec

if TYPE_CHECKING:  # it takes a second and a half to import, and who scores or plans needs none of it
    import torch

MIB = 2**20

_SHARE = 0.7  # of what is free that training may take: others live here too
_STRING_BYTES = 32
_COPIES = 2.5  # of raw rows at a time, while they are read, sorted and encoded
_SLOT_BYTES = {"categorical": 8, "numeric": 4, "time": 8}
_TARGET_BYTES = 4


@dataclass(frozen=True)
class Room:
    """Whether `rows` training rows, `encoded` bytes on the device, are kept in memory, and why in words."""

    rows: int
    encoded: int
    fits: bool
    why: str

    def __str__(self) -> str:
        does = "stay in memory" if self.fits else "do not fit and are read from disk"
        return f"{self.rows:,} training rows take {self.encoded / MIB:,.1f} MiB encoded, {self.why}: they {does}"


def encoded_bytes(spec: ModelSpec, schema: pl.Schema) -> int:
    """Return what one row takes as the network reads it, in bytes. Raises what `model_inputs` raises."""
    return _TARGET_BYTES * (1 + len(spec.outcome.auxiliary)) + sum(
        _SLOT_BYTES[entry.kind] for entry in model_inputs(spec, schema)
    )


def raw_bytes(schema: pl.Schema) -> int:
    """Return about what one row takes as it is read, in bytes."""
    return sum(_STRING_BYTES if kind == pl.String else 8 for kind in schema.dtypes())


def room_for(
    spec: ModelSpec, schema: pl.Schema, rows: int, all_rows: int, memory_mb: float | None, device: "torch.device"
) -> Room:
    """Return whether `rows` training rows of the table's `all_rows` fit.

    `memory_mb` bounds what encoded training rows take; None: what is free on the device, and in the machine's memory
    for reading the table.
    """
    encoded, raw = rows * encoded_bytes(spec, schema), int(all_rows * raw_bytes(schema) * _COPIES)
    if memory_mb is not None:
        return Room(rows, encoded, encoded <= memory_mb * MIB, f"{memory_mb:,g} MiB are allowed")
    host = int(_SHARE * available_bytes())
    if device.type == "cuda":
        card = int(_SHARE * _free_on_card())
        why = f"{card / MIB:,.0f} MiB of the device and {host / MIB:,.0f} MiB of memory can be had"
        return Room(rows, encoded, encoded <= card and raw + encoded <= host, why)
    why = f"{raw / MIB:,.1f} MiB more while they are read, {host / MIB:,.0f} MiB of memory can be had"
    return Room(rows, encoded, raw + encoded <= host, why)


def budget_bytes(memory_mb: float | None, device: "torch.device") -> int:
    """Return what encoded rows may take in memory at a time, in bytes."""
    if memory_mb is not None:
        return int(memory_mb * MIB)
    free = [available_bytes(), *([_free_on_card()] if device.type == "cuda" else [])]
    return _steady(int(_SHARE * min(free)))


def sample_rows(schema: pl.Schema, memory_mb: float | None) -> int:
    """Return how many raw rows fit in a share of the budget, to learn an encoding from; at least 1,000."""
    budget = memory_mb * MIB if memory_mb is not None else _steady(int(_SHARE * available_bytes()))
    return max(int(budget / 4 / raw_bytes(schema)), 1000)


def slice_rows(schema: pl.Schema, memory_mb: float) -> int:
    """Return how many raw rows, with the copies that working on them takes, fit in `memory_mb`; at least 1,000."""
    return max(int(memory_mb * MIB / _COPIES / raw_bytes(schema)), 1000)


def available_bytes(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the memory that a new process can have, in bytes: the machine's MemAvailable, a pod's limit if less."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    machine = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    return min([machine, *_left_of_limit(groups)])


def _free_on_card() -> int:
    import torch

    return int(torch.cuda.mem_get_info()[0])


def _left_of_limit(groups: Path) -> list[int]:
    """Return what the container's cgroup (version 2) leaves, counting pages of files that can be dropped."""
    try:
        limit, used = (groups / "memory.max").read_text().strip(), int((groups / "memory.current").read_text())
        stat = dict(line.split() for line in (groups / "memory.stat").read_text().splitlines())
    except OSError:  # no container, or one of another kind
        return []
    return [] if limit == "max" else [max(int(limit) - used + int(stat["inactive_file"]), 0)]


def _steady(free: int) -> int:
    """Return the power of two below: what is free differs a little each time, and a training goes on from its own."""
    return 1 << max(free.bit_length() - 1, 0)
