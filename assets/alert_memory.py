"""What each sink of alerts was told, and how sending to it went: a small file a sink, in HEADWATER_HOME/alerts.

Here: keeping it whole, and that only one process at a time works on it. A kill at any moment leaves the file of before
or the next one.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from checks.alerts import Memory


@dataclass(frozen=True)
class SinkState:
    """Without a `memory` a sink was told nothing yet. Instants are by the machine's clock: `sent` in the last hour."""

    memory: Memory | None = None
    sent: tuple[datetime, ...] = ()
    failures: int = 0
    retry_at: datetime | None = None
    error: str = ""


_JSON = TypeAdapter(SinkState)


@dataclass(frozen=True)
class SinkFile:
    """The state of the sink called `name`."""

    folder: Path
    name: str

    def load(self) -> SinkState:
        """Return the state. Raises LookupError with the remedy if the file is damaged."""
        try:
            return _JSON.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return SinkState()
        except ValidationError as error:
            raise LookupError(
                f"{self._path} is damaged; delete it, and {self.name} is told anew what is wrong now"
            ) from error

    def save(self, state: SinkState) -> None:
        """Replace the state, at once and for good."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".new")  # one name: whoever holds the lock is alone
        with temporary.open("wb") as file:
            file.write(_JSON.dump_json(state))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Say whether nobody else works on this sink now, and keep others out. It ends with the process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{self.name}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.name}.json"
