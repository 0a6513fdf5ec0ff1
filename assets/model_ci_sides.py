"""Running the steps of a side's code as processes of their own, with the side's tree on the path and a home apart.

Here: processes, their progress lines, their end. The steps themselves are assets/model_ci_side.py.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Self

from assets.model_ci_side import FAILURE

SCRIPT = Path(__file__).with_name("model_ci_side.py")
_GRACE_SECONDS = 8.0

Say = Callable[[str, str], None]


class SideFailed(Exception):
    """A side's code could not do a step."""


@dataclass
class Processes:
    """The running steps. Leaving the block ends them all, with everything that they started."""

    say: Say
    _running: set["subprocess.Popen[str]"] = field(default_factory=set)
    _lock: Lock = field(default_factory=Lock)
    _closed: bool = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End all steps, by force after some seconds; none can be started any more."""
        with self._lock:
            self._closed, running = True, list(self._running)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for process in running:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            for process in running:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_GRACE_SECONDS)

    def run(self, name: str, words: list[str], cwd: Path, env: dict[str, str], log: Path) -> int:
        """Run a command to its end, its lines told as the side's, its stderr in `log`. Returns its status."""
        with log.open("w") as errors, self._lock:
            if self._closed:
                raise SideFailed(f"{name}: stopped")
            process = subprocess.Popen(
                words, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True
            )
            self._running.add(process)
        assert process.stdout is not None
        for line in process.stdout:
            self.say(name, line.rstrip())
        status = process.wait()
        with self._lock:
            self._running.discard(process)
        return status


@dataclass(frozen=True)
class Side:
    """The base or the change: a tree of files, run with the environment that runs us."""

    name: str
    tree: Path
    processes: Processes
    logs: Path

    def run(self, step: str, out: Path, home: Path, **options: Any) -> Path:
        """Run a step of the side into the folder `out`, which is made, and return it.

        Raises SideFailed with the side's own reason, in a line.
        """
        out.mkdir(parents=True, exist_ok=True)
        words = [sys.executable, "-P", str(SCRIPT), step, "--out", str(out)]
        for name, value in options.items():
            words += [f"--{name.replace('_', '-')}", *_words(value)]
        self.logs.mkdir(parents=True, exist_ok=True)
        log = self.logs / f"{self.name}-{step}.log"
        status = self.processes.run(self.name, words, self.tree, self._environment(home), log)
        if status:
            told = out / FAILURE
            reason = told.read_text() if told.exists() else f"ended with status {status}"
            raise SideFailed(f"{self.name}: {step}: {reason} (details: {log})")
        return out

    def _environment(self, home: Path) -> dict[str, str]:
        """A user's settings stay outside: what runs here must not reach the online store that answers live."""
        outside = ("HEADWATER_", "DAGSTER_", "DBT_", "GIT_", "MAKE", "MFLAGS", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(outside)}
        quiet = {"DO_NOT_TRACK": "true", "GX_ANALYTICS_ENABLED": "false"}
        return {**kept, **quiet, "PYTHONPATH": str(self.tree), "HEADWATER_HOME": str(home)}


def _words(value: Any) -> list[str]:
    if isinstance(value, list | tuple):
        return [str(item) for item in value]
    return [json.dumps(value) if isinstance(value, dict) else str(value)]
