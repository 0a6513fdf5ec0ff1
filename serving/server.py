"""The bundled Triton as a detached process: `python -m serving.server start|stop|status`.

What it serves is the business of `model_repository` and `rollout`; where it and its Python live, of
`triton_files`.
"""

import argparse
import fcntl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from ml import remedies
from ml.settings import Settings
from serving import process, triton_access, triton_files
from serving.control import Control, Probe
from serving.model_repository import ModelRepository
from serving.own_model import keep_backend
from serving.plan import Plan
from serving.plan_change import load_own
from serving.router_states import STALE_SECONDS, await_revision, forget, living
from serving.triton_config import configuration_of

READY_SECONDS = 30.0
STOP_SECONDS = 15.0


@dataclass(frozen=True)
class ServerStatus:
    """Whether Triton runs and answers, who serves each deployed model, and what keeps the others from it."""

    url: str
    pid: int | None
    live: bool
    serving: dict[str, Probe]
    failing: dict[str, str]


class Server:
    """The Triton of one serving home."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._home = settings.triton_state
        self._pid_file = self._home / "triton.json"
        self.log = self._home / "triton.log"
        self.repository = ModelRepository(settings.serving_home)
        self.url = settings.triton_here
        self._replica = triton_files.replica(settings)

    @property
    def wanted(self) -> bool:
        """Whether Triton was started and not stopped since; it may have been killed."""
        return self._pid_file.exists()

    def start(self) -> ServerStatus:
        """Start Triton unless it runs, load every deployed model, probe each and return when all were asked.

        A model whose process was killed is loaded again; one that does not load is among `failing`, the
        others serve. Raises LookupError if the binary, a library or a TLS file is missing, OSError if a port is
        taken, RuntimeError with the log's last lines if Triton ends or does not get ready.
        """
        triton_access.require(self._settings)
        with self._lock():
            if not self._serves():
                self.require_startable()
                self._end(wanted=self.wanted)
                triton_files.require_ports(self._settings)
                self._launch()
            return self._load_deployed()

    def require_startable(self) -> None:
        """Raise LookupError or OSError as `start` would, where what is missing or taken can be told before work."""
        triton_access.require(self._settings)
        triton_files.require(self._settings)
        running = self._running()
        if running is not None and running.notes.get("url") != self.url:
            # One of ours runs elsewhere, and goes on if it cannot move. It may hold the metrics port that is asked for.
            triton_files.require_ports(self._settings, ("grpc",))
        elif not self.wanted:  # else it runs, or `start` frees what a killed one left
            triton_files.require_ports(self._settings)

    def stop(self, at_once: bool = False) -> bool:
        """Stop Triton with all its processes, release its shared memory; return whether there was one.

        `at_once` does not wait for a start that is under way, which may wait for a model's lock.
        """
        with nullcontext() if at_once else self._lock():
            return self._end()

    def status(self) -> ServerStatus:
        """Return who runs and serves, by a real inference each, without changing anything."""
        running = self._running()
        control = Control(self._settings)
        serving: dict[str, Probe] = {}
        failing: dict[str, str] = {}
        live = running is not None and control.live()
        for model in self.repository.deployed_models():
            try:
                serving[model] = control.probe(model)
                plan = self.repository.deployed(model)
                if plan is not None and (missing := self._missing(plan)):
                    failing[model] = f"{missing} of the router's {plan.processes} processes do not live"
                if self.repository.left_unproven(model):
                    failing[model] = f"a change of its plan was killed half way; {remedies.recover_triton()}"
            except Exception as error:
                failing[model] = str(error)
        control.close()
        return ServerStatus(self.url, running.pid if running else None, live, serving, failing)

    def _load_deployed(self) -> ServerStatus:
        control = Control(self._settings)
        failing: dict[str, str] = {}
        for model in self.repository.deployed_models():
            try:
                with self.repository.lock(model):
                    self._load(control, model)
            except Exception as error:
                failing[model] = str(error)
        control.close()
        status = self.status()
        return ServerStatus(status.url, status.pid, status.live, status.serving, {**status.failing, **failing})

    def _load(self, control: Control, model: str) -> None:
        plan = self.repository.discard_unproven(model)
        if plan is None:
            return
        load_own(control, self.repository, plan, self._settings)
        if not self.repository.configured(plan):
            self.repository.configure(plan)
            control.load(model)
        elif not control.ready(model):
            control.load(model)
        self._recovered(control, plan)
        if self._missing(plan) or not self._taken_over(plan):
            control.unload(model)
            control.load(model)
            of = (self.repository.home, model, plan.revision, configuration_of(plan))
            await_revision(*of, replica=self._replica)

    def _taken_over(self, plan: Plan) -> bool:
        """Whether every process of ours answers by the plan, or does so in a moment."""
        of = (self.repository.home, plan.model, plan.revision, configuration_of(plan))
        try:
            await_revision(*of, STALE_SECONDS, self._replica)
        except (RuntimeError, TimeoutError):
            return False
        return True

    def _recovered(self, control: Control, plan: Plan) -> Probe:
        """Probe the model, and load again what does not answer: the router, and if that does not help what it calls."""
        try:
            return control.recover(plan.model)
        except (RuntimeError, LookupError, TimeoutError):
            load_own(control, self.repository, plan, self._settings, anew=True)
            return control.recover(plan.model)

    def _missing(self, plan: Plan) -> int:
        """Return how many of the router's processes are not there."""
        ours = living(self.repository.home, plan.model, configuration_of(plan), self._replica)
        return max(plan.processes - len(list(ours)), 0)

    def _running(self) -> process.Detached | None:
        known = process.recall(self._pid_file)
        return known if known is not None and known.alive() else None

    def _serves(self) -> bool:
        running = self._running()
        if running is None or running.notes != self._notes():
            return False
        control = Control(self._settings)
        live = control.live()
        control.close()
        return live

    def _launch(self) -> None:
        wanted = self.wanted
        self.repository.models.mkdir(parents=True, exist_ok=True)
        forget(self.repository.home, self._replica)  # the states of processes that were killed
        keep_backend(self.repository.home, triton_files.triton_home(self._settings) / "backends")
        command = triton_files.command(self._settings, self._shared_memory())
        environment = triton_files.environment(self._settings)
        # Triton's stub finds our packages in the folder it is started in: PYTHONPATH alone does not do.
        folder = triton_files.REPOSITORY_ROOT
        started, child = process.spawn(command, environment, folder, self.log, self._notes())
        process.save(started, self._pid_file)
        try:
            self._wait_live(child)
        except BaseException:
            self._end(wanted)
            raise

    def _notes(self) -> dict[str, str]:
        """What makes a running Triton another than the settings ask for: it is then started again."""
        return {"url": self.url, "access": triton_access.fingerprint(self._settings)}

    def _wait_live(self, child: "Popen[bytes]") -> None:
        control = Control(self._settings)
        until = time.monotonic() + READY_SECONDS
        while not control.live(timeout=1.0):
            if child.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"Triton did not get ready; the last lines of {self.log}:\n{_tail(self.log)}")
            time.sleep(0.05)
        control.close()

    def _end(self, wanted: bool = False) -> bool:
        """End it; it stays `wanted` where it is only started again, so that whoever looks after it tries on."""
        known = process.recall(self._pid_file)
        if known is None:
            return False
        was_alive = known.alive()
        known.stop(self._settings.triton_root, STOP_SECONDS)
        triton_files.release_shared_memory(self._shared_memory())
        if not wanted:
            self._pid_file.unlink(missing_ok=True)
        return was_alive

    def _shared_memory(self) -> str:
        return triton_files.shared_memory_prefix(self._settings)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self._home.mkdir(parents=True, exist_ok=True)
        with (self._home / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _tail(path: Path, lines: int = 15) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def _print(status: ServerStatus) -> None:
    state = "live" if status.live else "down"
    print(f"Triton {state} at {status.url}" + (f", pid {status.pid}" if status.pid else ""))
    for model, probe in status.serving.items():
        print(f"  {model}: version {probe.model_version}, revision {probe.revision}")
    for model, reason in status.failing.items():
        print(f"  {model}: FAILING: {reason}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code (1: down, a model fails, or none is deployed that should be)."""
    parser = argparse.ArgumentParser(prog="python -m serving.server", description=__doc__)
    parser.add_argument("action", choices=["start", "stop", "status"])
    parser.add_argument("--deployed", action="store_true", help="with status: fail where no model is deployed")
    options = parser.parse_args(arguments)
    action = options.action
    from serving.fleet import server_for  # which knows this module

    server = server_for(Settings())
    try:
        if action == "stop":
            print("Triton stopped" if server.stop() else "Triton was not running")
            return 0
        status = server.start() if action == "start" else server.status()
    except (OSError, LookupError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    _print(status)
    served = bool(status.serving or status.failing)
    if not served:
        print(f"no model is deployed yet; {remedies.deploy('<model>')}")
    return 0 if status.live and not status.failing and (served or not options.deployed) else 1


if __name__ == "__main__":
    raise SystemExit(main())
