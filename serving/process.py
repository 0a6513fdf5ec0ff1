"""A detached process of ours and its group, told apart from a stranger with a recycled pid. Linux only.

Knows nothing of Triton.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen

from serving.proc_files import started, stat_of

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Detached:
    """The leader of a process group: pid, start time in ticks since boot, the boot, the caller's notes."""

    pid: int
    started: int
    boot: str
    notes: dict[str, str]

    def alive(self) -> bool:
        """Whether this very process runs (a zombie does not)."""
        return self.boot == _BOOT_ID.read_text().strip() and started(self.pid) == self.started

    def members(self, root: Path) -> list[int]:
        """Return the pids of the group whose program lies under `root`, the leader included."""
        if self.boot != _BOOT_ID.read_text().strip():
            return []
        return [pid for pid in _group(self.pid) if _program(pid).is_relative_to(root.resolve())]

    def stop(self, root: Path, patience: float) -> None:
        """Ask the leader to end; after `patience` seconds kill what is left of the group under `root`."""
        if self.alive():
            os.kill(self.pid, signal.SIGTERM)
        _wait(lambda: not self.alive(), patience)
        for pid in self.members(root):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _wait(lambda: not self.members(root), 5.0)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        left = self.members(root)
        if left:
            raise RuntimeError(f"processes {left} do not end; look at them with ps -p {left[0]}")


def spawn(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path, notes: dict[str, str]
) -> tuple[Detached, "Popen[bytes]"]:
    """Start a command in `folder` and in a session of its own, its output appended to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdin=DEVNULL,
            stdout=output,
            stderr=STDOUT,
            start_new_session=True,
        )
    return Detached(child.pid, started(child.pid) or 0, _BOOT_ID.read_text().strip(), notes), child


def save(process: Detached, path: Path) -> None:
    """Write the pid file atomically."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(process)))
    os.replace(temporary, path)


def recall(path: Path) -> Detached | None:
    """Read the pid file; None if there is none or it is damaged."""
    try:
        return Detached(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)


def _group(leader: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            fields = stat_of(int(entry.name))
            if fields and fields[2] == str(leader) and fields[0] != "Z":
                yield int(entry.name)


def _program(pid: int) -> Path:
    try:
        return Path(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return Path("/")
