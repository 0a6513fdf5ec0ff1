"""One home in which `make demo` has run: `live`, with its Triton, and `line`, a copy of what that run left.

Both test processes share it: the one that needs it first runs the demo, the other waits. Tests that use `live` run in
one process; nobody changes anything in `line`: what would takes a copy of its own.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef

from assets.drill_registry import move_registry
from assets.drill_serving import move_plans
from assets.resources import Platform
from ml.settings import Settings
from serving.triton_files import free_ports

ROOT = Path(__file__).parent.parent.parent
PORTS = ("TRITON_GRPC", "TRITON_METRICS", "UI", "REPORTS", "MLFLOW")
TRAIN_SECONDS = 600


@dataclass
class Line:
    """A home with the whole line in it, and how to run commands on it."""

    home: Path
    ports: dict[str, int]
    first_output: str = ""

    @property
    def env(self) -> dict[str, str]:
        """The environment of a user who set another home and other ports."""
        ours = {f"HEADWATER_{name}_PORT": str(port) for name, port in self.ports.items()}
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HEADWATER_", "DAGSTER"))}
        return {
            **kept,
            **ours,
            "HEADWATER_HOME": str(self.home),
            "HEADWATER_TRAIN_SECONDS": str(TRAIN_SECONDS),
        }

    @property
    def settings(self) -> Settings:
        """The settings of that environment."""
        return Settings(home=self.home, **{f"{name.lower()}_port": port for name, port in self.ports.items()})

    @property
    def platform(self) -> Platform:
        """The parts of that home."""
        return Platform(self.settings)

    @property
    def instance(self) -> dg.DagsterInstance:
        """The Dagster instance of that home."""
        return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(self.home / "dagster")))

    def command(self, *words: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a command from the repository's root and return what it printed."""
        return subprocess.run(words, cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=timeout)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own, as a terminal does."""
        return subprocess.Popen(
            words,
            cwd=ROOT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def ask(self, *more: str) -> subprocess.CompletedProcess[str]:
        """Ask the served model from another process."""
        fields = ["tailnum=N564AA", "carrier=AA", "flight_number=2223", "origin=LGA", "dest=STL", "distance=888"]
        times = ["scheduled_departure=2013-10-25T16:55-04:00", "scheduled_departure_local=2013-10-25T16:55"]
        return self.command(sys.executable, "-m", "serving.client", "flight_delay", *fields, *times, *more, timeout=60)


def interrupt(process: subprocess.Popen[str]) -> None:
    """What Ctrl-C does: SIGINT to the whole foreground group."""
    os.killpg(process.pid, signal.SIGINT)


def some_ports() -> dict[str, int]:
    return dict(zip(PORTS, free_ports(len(PORTS)), strict=True))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all test processes of this run see."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "line"
    folder.mkdir(exist_ok=True)
    return folder


def move_addresses(old: Settings, new: Settings) -> None:
    """Let a copy of a home name its own files where it names files by their address."""
    move_registry(old, new, "flight_delay")
    move_plans(old, new)


def demo_in(folder: Path, stop: bool) -> Line:
    """Return the home in which the demo ran; run it unless it has been. `stop` its Triton after that."""
    made, told = Line(folder / "home", some_ports()), folder / "told.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            try:
                done = made.command("make", "demo", timeout=900)
                if done.returncode == 0:
                    shutil.copytree(made.home, folder / "copy", ignore=shutil.ignore_patterns("logs", "server"))
                    move_addresses(made.settings, Line(folder / "copy", made.ports).settings)
            finally:
                if stop:
                    made.command("make", "stop")
            told.write_text(json.dumps([made.ports, done.returncode, done.stdout, done.stderr]))
    made.ports, status, made.first_output, errors = json.loads(told.read_text())
    assert status == 0, made.first_output + errors
    return made


@pytest.fixture(scope="session")
def live(shared: Path) -> Iterator[Line]:
    """The home in which the demo ran, served."""
    try:
        made = demo_in(shared, stop=False)
        started = made.command(sys.executable, "-m", "serving.server", "start")  # unless the demo itself has just done
        assert started.returncode == 0, started.stderr
        yield made
    finally:
        Line(shared / "home", some_ports()).command("make", "stop")


@pytest.fixture(scope="session")
def line(shared: Path) -> Line:
    """What the demo left, for everybody to read."""
    demo_in(shared, stop=True)
    return Line(shared / "copy", some_ports())


@pytest.fixture
def copied(line: Line, tmp_path: Path) -> Line:
    """A copy of the line's state that a test may spoil."""
    home = tmp_path / "home"
    shutil.copytree(line.home, home, ignore=shutil.ignore_patterns("serving", "logs"))
    made = Line(home, line.ports)
    move_addresses(line.settings, made.settings)
    return made
