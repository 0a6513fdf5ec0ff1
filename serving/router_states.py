"""What each process of a router says of itself: a small file that it touches while it lives, under routers/<model>/.

Written inside Triton (standard library only), read by the platform, which waits here until all have taken a plan over.
Files, not calls: a call through Triton reaches one process of several.
"""

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ml import remedies
from ml.clock import RealClock
from serving.proc_files import ended

REPLICA = "HEADWATER_REPLICA"  # the variable that tells a router which of several Tritons it lives in

BEAT_SECONDS = 1.0
STALE_SECONDS = 5.0  # without a beat it is dead
PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class RouterState:
    """By which revision a process answers, for which configuration, and which revision it refused, and why."""

    configuration: str
    revision: int
    replica: str
    host: str
    pid: int
    refused: int = 0
    reason: str = ""


def forget(home: Path, replica: str) -> None:
    """Remove the states of a replica whose processes have all ended."""
    for path in (home / "routers").glob("*/*.json"):
        try:
            gone = json.loads(path.read_text()).get("replica", replica) == replica
        except (OSError, ValueError):  # gone meanwhile
            continue
        if gone:
            path.unlink(missing_ok=True)


class StateFile:
    """The file of one process."""

    def __init__(self, home: Path, model: str) -> None:
        self._path = home / "routers" / model / f"{uuid.uuid4().hex[:12]}.json"

    def write(self, state: RouterState) -> None:
        """Say something else of oneself. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        new.write_text(json.dumps(asdict(state)))
        os.replace(new, self._path)

    def beat(self) -> None:
        """Say that one lives. Raises OSError."""
        os.utime(self._path)

    def remove(self) -> None:
        """Say that one has gone."""
        self._path.unlink(missing_ok=True)


def living(home: Path, model: str, configuration: str, replica: str = "") -> Iterator[RouterState]:
    """Yield the states of the living processes of one configuration, of one replica or of all.

    Files that died long ago are removed.
    """
    for path in sorted((home / "routers" / model).glob("*.json")):
        try:
            age = RealClock().now().timestamp() - path.stat().st_mtime
            state = RouterState(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):  # gone meanwhile, or of another release
            continue
        if age > STALE_SECONDS or (state.host == socket.gethostname() and ended(state.pid)):
            if age > 100 * STALE_SECONDS:
                path.unlink(missing_ok=True)
        elif state.configuration == configuration and replica in ("", state.replica):
            yield state


def await_revision(
    home: Path, model: str, revision: int, configuration: str, patience: float = PATIENCE_SECONDS, replica: str = ""
) -> None:
    """Wait until every living process, of one replica or of all, answers by a revision.

    Raises RuntimeError with the reason if one refuses it, or if none lives; TimeoutError if one is not there in time.
    """
    until, alone_until = time.monotonic() + patience, time.monotonic() + STALE_SECONDS
    while True:
        states = list(living(home, model, configuration, replica))
        for state in states:
            if state.refused == revision:
                raise RuntimeError(state.reason)
        if states and all(state.revision == revision for state in states):
            return
        if not states and time.monotonic() > alone_until:
            raise RuntimeError(f"no process of {model!r} lives; {remedies.recover_triton()}")
        if time.monotonic() > until:
            slow = [
                f"process {s.pid} of {s.replica} at revision {s.revision}" for s in states if s.revision != revision
            ]
            raise TimeoutError(f"not all of {model!r} answer by revision {revision} after {patience:g} s: {slow}")
        time.sleep(_POLL_SECONDS)
