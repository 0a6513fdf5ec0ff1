"""`make demo-services`: the work of `make demo` on a real PostgreSQL, Redis and S3 server, in a home of its own.

The servers are started and stopped here, and so is Triton. What proves where the work went is in
assets/services_proof.py.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from assets.command import interruptible
from assets.new_home import bring_up_to_date
from assets.quiet import leave
from assets.services import Services, opened
from assets.services_proof import prove
from assets.stages import say
from ml.process import end_with_parent
from ml.settings import Settings
from serving.server import Server
from serving.triton_files import free_ports

DEMO = (sys.executable, "-m", "assets.demo")
_PORTS = ("HEADWATER_TRITON_GRPC_PORT", "HEADWATER_TRITON_METRICS_PORT")
_ELSEWHERE = {  # the home's own, whatever the user's is
    "HEADWATER_ARTIFACTS",
    "HEADWATER_SERVING_VOLUME",
    *(f"HEADWATER_TRITON_{name}" for name in ("ADDRESS", "REPLICAS", "SCRATCH", "URL")),
}
_PATIENCE_SECONDS = 30.0


def run(outer: Settings, work: Sequence[str]) -> None:
    """Run the demo on real servers in `<home>/services`, and show what proves it.

    Raises LookupError if a server cannot be started or the demo fails, KeyboardInterrupt after Ctrl-C; in any case
    nothing stays running.
    """
    home = outer.root / "services"
    with opened(home / "servers") as services, _keys_of(services):
        say("servers", "started on loopback, their state in " + str(home / "servers"))
        for what, where in services.told:
            say(f"  {what}", where)
        bring_up_to_date(home, on_postgres=True)
        variables = _variables(home, services)
        settings = _settings(outer, home, services, variables)
        try:
            _run(work, variables)
            prove(settings, services, outer)
        finally:
            Server(settings).stop()
    say("servers", "stopped, and so is Triton; run it again: only what is out of date is done")


@contextmanager
def _keys_of(services: Services) -> Iterator[None]:
    """Put the user's own object store aside, here and in children: libraries read its keys from the environment."""
    theirs = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("AWS_")}
    ours = {name: value for name, value in services.variables.items() if name.startswith("AWS_")}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
        os.environ.update(theirs)


def _variables(home: Path, services: Services) -> dict[str, str]:
    """Return the environment of the demo: the user's, but for where state is and who serves."""
    ports = dict(zip(_PORTS, map(str, free_ports(len(_PORTS))), strict=True))
    places = {"HEADWATER_HOME": str(home), "DAGSTER_HOME": str(home / "dagster")}
    kept = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    return {**kept, **places, **ports, **services.variables}


def _settings(outer: Settings, home: Path, services: Services, variables: dict[str, str]) -> Settings:
    ports = {name.removeprefix("HEADWATER_").lower(): int(variables[name]) for name in _PORTS}
    named = {name: value for name, value in services.variables.items() if name.startswith("HEADWATER_")}
    stores = {name.removeprefix("HEADWATER_").lower(): value for name, value in named.items()}
    return outer.embedded_in(home, **ports, **stores)


def _run(work: Sequence[str], variables: dict[str, str]) -> None:
    """Run the demo as a child in this terminal: Ctrl-C reaches it, too, SIGTERM is passed on; it ends by itself."""
    child = subprocess.Popen(work, env=variables, preexec_fn=end_with_parent)
    before = signal.signal(signal.SIGTERM, lambda number, frame: child.terminate())
    try:
        status = child.wait()
    except KeyboardInterrupt:
        _end(child)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    if status in (130, -signal.SIGINT, -signal.SIGTERM):
        raise KeyboardInterrupt
    if status:
        raise LookupError("the demo failed on the real servers, as the line above says")


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Wait for the child to end; ask it to, if only this process was told."""
    for patience in (_PATIENCE_SECONDS, _PATIENCE_SECONDS):
        try:
            child.wait(patience)
            return
        except subprocess.TimeoutExpired:
            child.terminate()
    child.kill()
    child.wait()


@interruptible("servers and Triton are stopped")
def main() -> int:
    """Run the command. Returns 0, 1 after one line on what failed, 130 when interrupted."""
    run(Settings(), DEMO)
    return 0


if __name__ == "__main__":
    leave(main())
