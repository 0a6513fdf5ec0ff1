"""Scores shadows after their rows were answered, in a thread of its own. Runs in the serving environment.

What waits is bounded: while more comes in than the shadows can score, the rest is left out and counted.
"""

import queue
import sys
import threading
from collections.abc import Callable

WAITING = 64  # batches
_PATIENCE_SECONDS = 5.0


class Shadows:
    """A thread that does what was put, in order."""

    def __init__(self) -> None:
        self.left_out = 0
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(WAITING)
        self._told = ""
        self._thread = threading.Thread(target=self._run, name="shadows", daemon=True)
        self._thread.start()

    def put(self, job: Callable[[], None]) -> None:
        """Have a job done later, or leave it out if too many wait. Never waits."""
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            self.left_out += 1

    def close(self) -> None:
        """Do what waits, and end."""
        try:
            self._jobs.put(None, timeout=_PATIENCE_SECONDS)
            self._thread.join(_PATIENCE_SECONDS)
        except queue.Full:
            pass

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception as error:  # a shadow must not hurt those that answer
                if str(error) != self._told:
                    self._told = str(error)
                    print(f"a shadow fails: {error}", file=sys.stderr, flush=True)
