"""Watches for another plan of one model and has the router answer by it. Runs inside Triton, in a thread of its own."""

import os
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

from serving.model_repository import ModelRepository
from serving.router import Router
from serving.router_states import BEAT_SECONDS, REPLICA, RouterState, StateFile
from serving.scorer import Call
from serving.triton_config import configuration_of

LOOK_SECONDS = 0.05


class PlanWatch:
    """Opens the router of a model's deployed plan and follows the pointer from then on."""

    def __init__(self, home: Path, model: str, call: Call | None = None) -> None:
        """Raises LookupError if the model is not deployed, and what opening the router raises."""
        self._repository = ModelRepository(home)
        self._pointer = self._repository.pointer(model)
        self._seen = self._stamp()
        plan = self._repository.pointed(model)
        if plan is None:
            raise LookupError(f"no plan of model {model!r} under {home}; deploy it first")
        self.router = Router(plan, call)
        self._model, self._configuration = model, configuration_of(plan)
        self._file = StateFile(home, model)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("plan-watch", self._run), ("plan-beat", self._beat))  # opening a plan may take long
        ]

    def start(self) -> None:
        """Follow the pointer from now on."""
        self._file.write(self._state())
        for thread in self._threads:
            thread.start()

    def look(self) -> None:
        """Take over the plan that the pointer names, if it is another one of our configuration."""
        if (stamp := self._stamp()) == self._seen:
            return
        plan = self._repository.pointed(self._model)
        self._seen = stamp
        if plan is None or plan.revision == self.router.plan.revision or configuration_of(plan) != self._configuration:
            return
        try:
            self.router.swap(plan)
            self._file.write(self._state())
        except Exception as error:  # whatever it is, we go on by the plan that we have
            self._file.write(self._state(plan.revision, str(error)))

    def close(self) -> None:
        """Stop watching, and close the router."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._file.remove()
        self.router.close()

    def _run(self) -> None:
        told = ""
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception as error:  # a full disk, a damaged pointer: what we have goes on
                if str(error) != told:
                    told = str(error)
                    print(f"model {self._model!r} cannot look for another plan: {told}", file=sys.stderr, flush=True)

    def _beat(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            with suppress(OSError):  # then it counts as dead, as it may be to others
                self._file.beat()

    def _state(self, refused: int = 0, reason: str = "") -> RouterState:
        replica, revision = os.environ.get(REPLICA, ""), self.router.plan.revision
        return RouterState(self._configuration, revision, replica, socket.gethostname(), os.getpid(), refused, reason)

    def _stamp(self) -> tuple[int, int, int]:
        try:
            found = self._pointer.stat()
        except FileNotFoundError:
            return (0, 0, 0)
        return (found.st_mtime_ns, found.st_ino, found.st_size)
