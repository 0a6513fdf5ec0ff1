"""The label that tells a router's processes apart in metrics: a small number that no living process shares.

Triton counts what refers to a series apart for each process, so that one process that ends would take a shared series
away from under the others, and the server falls. A killed process' number goes to the one that follows it, and its
counters go on. The file holds which versions have series, so that whoever follows can remove them.
"""

import fcntl
import json
import os
from collections.abc import Iterable
from itertools import count
from pathlib import Path


class Slot:
    """The first free number of a model, held until `close` or until the process dies."""

    def __init__(self, home: Path, model: str) -> None:
        folder = home / "routers" / model
        folder.mkdir(parents=True, exist_ok=True)
        for number in count():
            self.name = str(number)
            self._descriptor = os.open(folder / f"{number}.slot", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                os.close(self._descriptor)

    def inherited(self) -> list[tuple[str, ...]]:
        """Return what was kept last by a process that was killed; nothing if none was."""
        kept = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        try:
            return [tuple(group) for group in json.loads(kept or b"[]")]
        except ValueError:  # killed while it wrote
            return []

    def keep(self, groups: Iterable[tuple[str, ...]]) -> None:
        """Keep which groups of series there are."""
        told = json.dumps(list(groups)).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, told, 0)

    def close(self) -> None:
        """Let the number go; no series has it any more."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
