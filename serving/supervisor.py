"""Keeps what is deployed answering: `python -m serving.supervisor`, in a terminal or a service beside Triton.

Each model is probed by a real inference, since Triton calls one ready whose process died; what fails is loaded again, a
killed server started again. A server that was stopped on purpose stays stopped.
"""

import argparse
import signal
import sys
import threading
import time
from types import FrameType

from ml.settings import Settings
from serving.server import Server

EVERY_SECONDS = 1.0
LONGEST_SECONDS = 30.0  # between two tries to recover what does not recover


class Supervisor:
    """Looks after the Triton of one serving home."""

    def __init__(self, settings: Settings, every: float = EVERY_SECONDS) -> None:
        self._server = Server(settings)
        self._every = every

    def look(self) -> str:
        """Probe every deployed model and recover what fails; return a line on what was done, "" if all answers.

        Raises RuntimeError with the reasons if something does not answer after that.
        """
        if not self._server.wanted:
            return ""
        before = self._server.status()
        if before.live and not before.failing:
            return ""
        started = time.monotonic()
        after = self._server.start()
        if after.failing:
            reasons = "; ".join(f"{model}: {reason}" for model, reason in after.failing.items())
            raise RuntimeError(f"does not recover: {reasons}")
        what = ", ".join(before.failing) if before.live else "Triton"
        return f"{what} did not answer; recovered in {time.monotonic() - started:.1f} s"

    def run(self, stop: threading.Event) -> None:
        """Look again and again until `stop` is set, and say what is done; wait longer after each failure."""
        pause, told = self._every, ""
        while not stop.wait(pause):
            try:
                done = self.look()
                pause, told = self._every, ""
                if done:
                    print(done, flush=True)
            except (OSError, LookupError, ValueError, RuntimeError) as error:
                pause = min(pause * 2, LONGEST_SECONDS)
                if str(error) != told:
                    told = str(error)
                    print(f"{told}; tries again", file=sys.stderr, flush=True)


def asked_to_end() -> threading.Event:
    """Return what SIGINT and SIGTERM set from now on."""
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    return stop


def main(words: list[str] | None = None) -> int:
    """Run the command until SIGINT or SIGTERM; return 0."""
    parser = argparse.ArgumentParser(prog="python -m serving.supervisor", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--every", type=float, default=EVERY_SECONDS, help="seconds between two probes (%(default)s)")
    options = parser.parse_args(words)
    if options.every <= 0:
        parser.error("--every: a positive number of seconds")
    stop, settings = asked_to_end(), Settings()
    print(f"looks after Triton at {settings.triton_here} every {options.every:g} s", flush=True)
    Supervisor(settings, options.every).run(stop)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
