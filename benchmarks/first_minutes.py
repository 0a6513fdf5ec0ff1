"""From a clone to the first served prediction: commands, minutes, lines; then UI, code location, a run of no change.

A clone of this repository's HEAD in a folder of its own is installed (`make setup`, timed apart) and runs `make demo`,
on ports that are free. There is no peer that builds the same line: the ratio is the bar to ours. Packages come from
wherever pip and uv are set to look, a warm cache included: the install's time is this machine's, and has no bar.
"""

import os
import re
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.report import conclude
from serving.triton_files import free_ports

ROOT = Path(__file__).parent.parent
TYPED = ("git clone", "cd", "make demo")
PORTS = ("TRITON_GRPC", "TRITON_METRICS", "UI", "REPORTS", "MLFLOW")
BARS = {"after_install": 180.0, "ui": 20.0, "code_location": 8.0, "no_change": 15.0}
FIRST_VERSION = 300.0  # the bar of the first version for `after_install`
ANSWERED = re.compile(r"^\d{4}-\d\d-\d\d/\w+/\w{3} ")


@dataclass(frozen=True)
class Told:
    """How long a command took, in seconds, what it printed, and when it printed the first served prediction."""

    seconds: float
    lines: list[str]
    answered: float | None


class Clone:
    """A clone of HEAD, as somebody has it who found the repository."""

    def __init__(self, folder: Path) -> None:
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HEADWATER_", "MAKE", "MFLAGS", "DAGSTER"))}
        kept.pop("PYTHONPATH", None)
        self.env = {**kept, **{f"HEADWATER_{name}_PORT": str(port) for name, port in ports.items()}}
        self.ui = f"http://127.0.0.1:{ports['UI']}"
        self.folder = folder / "headwater"
        self.cloned = self.run("git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(self.folder), at=ROOT)

    def run(self, *words: str, at: Path | None = None) -> Told:
        """Run a command to its end. Raises LookupError with its last lines if it fails."""
        started, lines, answered = time.monotonic(), [], None
        with self._started(words, at) as process:
            for line in process.stdout or ():
                lines.append(line)
                if answered is None and ANSWERED.match(line):
                    answered = time.monotonic() - started
            status = process.wait()
        if status:
            raise LookupError(f"{' '.join(words)} failed: {''.join(lines[-10:])}")
        return Told(time.monotonic() - started, lines, answered)

    def seconds_to_first_page(self) -> float:
        """Start `make ui`, wait for its first page, end it."""
        started = time.monotonic()
        with self._started(("make", "ui"), None) as process:
            try:
                while process.poll() is None:
                    try:
                        with urllib.request.urlopen(self.ui, timeout=2):
                            return time.monotonic() - started
                    except OSError:
                        time.sleep(0.1)
                raise LookupError(f"make ui ended with status {process.returncode}")
            finally:
                os.killpg(process.pid, signal.SIGINT)
                process.communicate(timeout=60)

    @contextmanager
    def _started(self, words: tuple[str, ...], at: Path | None) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            words,
            cwd=at or self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            except BaseException:
                os.killpg(process.pid, signal.SIGTERM)
                raise


def main() -> None:
    """Clone, install, run, look, run again; print a table and the JSON line."""
    with tempfile.TemporaryDirectory(prefix="headwater-first-") as folder:
        clone = Clone(Path(folder))
        try:
            install = clone.run("make", "setup")
            demo = clone.run("make", "demo")
            if demo.answered is None:
                raise LookupError("make demo printed no served prediction")
            loads = [clone.run(".venv/bin/python", "-W", "ignore", "-c", "import assets.definitions") for _ in range(3)]
            found = {
                "after_install": demo.answered,
                "ui": clone.seconds_to_first_page(),
                "code_location": median(load.seconds for load in loads),
                "no_change": clone.run("make", "demo").seconds,
            }
        finally:
            if clone.folder.exists():
                clone.run("make", "stop")
    _conclude(clone.cloned, install, demo, found)


def _conclude(cloned: Told, install: Told, demo: Told, found: dict[str, float]) -> None:
    rows = {
        "commands typed": f"{len(TYPED)}: {', '.join(TYPED)}",
        "clone": f"{cloned.seconds:.1f} s",
        "install": f"{install.seconds:.0f} s, {len(install.lines)} lines",
        "make demo": f"{demo.seconds:.0f} s, {len(demo.lines)} lines",
        "first served prediction after install": f"{found['after_install']:.0f} s (bar {BARS['after_install']:.0f})",
        "first page of the UI": f"{found['ui']:.1f} s (bar {BARS['ui']:.0f})",
        "code location": f"{found['code_location']:.1f} s (bar {BARS['code_location']:.0f})",
        "make demo, nothing changed": f"{found['no_change']:.1f} s (bar {BARS['no_change']:.0f})",
    }
    for name, value in rows.items():
        print(f"{name:<40}{value}")
    conclude(
        "first_minutes",
        BARS["after_install"] / found["after_install"],
        1.0,
        holds=all(found[name] <= bar for name, bar in BARS.items()),
        first_version_holds=found["after_install"] <= FIRST_VERSION,
        commands=len(TYPED),
        minutes=round((cloned.seconds + install.seconds + found["after_install"]) / 60, 2),
        install_seconds=round(install.seconds, 1),
        lines=len(install.lines) + len(demo.lines),
        **{f"{name}_seconds": round(seconds, 1) for name, seconds in found.items()},
    )


if __name__ == "__main__":
    main()
