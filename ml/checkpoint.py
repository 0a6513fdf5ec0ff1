"""The state of an unfinished training in a file: written whole or not at all, read only by the same training.

Here: files and whether they belong to this run. Not here: what the state is (ml/loop.py).
"""

import io
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

STATE_FILE = "state.pt"
EVERY_SECONDS = 30.0


@dataclass
class Checkpoints:
    """The checkpoint in `folder` (None: there is none) of the run that `identity` describes by parts.

    A failed write costs a line, not the training: the next one may succeed, and the last good one stays.
    """

    folder: Path | None
    identity: Mapping[str, str]
    every: float = EVERY_SECONDS
    say: Callable[[str], None] = lambda line: None
    _written: float = field(default_factory=time.monotonic)
    _failed: bool = False

    @property
    def due(self) -> bool:
        """Whether the last write is long enough ago for one within an epoch."""
        return self.folder is not None and time.monotonic() - self._written >= self.every

    def load(self) -> dict[str, Any] | None:
        """Return the state that a run of the same identity left; None, and a line that says why, if there is none."""
        path = self._path
        if path is None or not path.exists():
            return None
        try:
            kept = torch.load(path, map_location="cpu", weights_only=True)
            identity, state = kept["identity"], kept["state"]
        except Exception as error:  # torch raises what unpickling raises: anything
            self.say(f"checkpoint {path} cannot be read ({_first_line(error)}); training starts anew")
            return None
        differing = [name for name in self.identity if identity.get(name) != self.identity[name]]
        if differing:
            self.say(f"checkpoint {path} is of another run (other {', '.join(differing)}); training starts anew")
            return None
        return dict(state)

    def save(self, state: Mapping[str, Any]) -> None:
        """Put `state` in the place of what was kept. A full disk is said in one line, and the old file stays."""
        path = self._path
        if path is None:
            return
        content = io.BytesIO()
        torch.save({"identity": dict(self.identity), "state": dict(state)}, content)
        try:
            write_whole(path, content.getbuffer())
            self._failed = False
        except OSError as error:
            if not self._failed:
                self.say(f"no checkpoint in {path.parent}: {error.strerror or error}; training goes on without")
            self._failed = True
        self._written = time.monotonic()

    @property
    def _path(self) -> Path | None:
        return None if self.folder is None else self.folder / STATE_FILE


def write_whole(path: Path, content: memoryview | bytes) -> None:
    """Write a file so that it is there whole or, as before, not at all, even after a power cut."""
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def remove_checkpoint(folder: Path) -> None:
    """Remove what a finished training kept in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
