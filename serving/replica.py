"""One of several Tritons on a serving home, as the main process of a container: `python -m serving.replica`.

Starts Triton, loads all that is deployed, looks after it, and ends it when asked to (SIGTERM): first it is not ready
any more (`ready`), then, some seconds later, Triton answers what it has and ends. What is deployed is others' business.
"""

import argparse
import sys
import threading
from pathlib import Path

from ml.settings import Settings
from serving.server import Server
from serving.supervisor import Supervisor, asked_to_end

DRAIN_SECONDS = 5.0


def leaving(settings: Settings) -> Path:
    """Return the file that is there while the replica of these settings ends."""
    return settings.triton_state / "leaving"


def serve(settings: Settings, stop: threading.Event, drain: float) -> None:
    """Serve until `stop` is set, and `drain` seconds longer. Raises what `Server.start` raises."""
    server, mark = Server(settings), leaving(settings)
    mark.unlink(missing_ok=True)
    status = server.start()
    for model, reason in status.failing.items():
        print(f"{model} does not load: {reason}; tries again", file=sys.stderr, flush=True)
    print(f"Triton at {status.url} serves {', '.join(status.serving) or 'nothing yet'}", flush=True)
    keeper = _Keeper(settings, stop)
    keeper.start()
    try:
        stop.wait()
        mark.touch()
        print(f"leaves: not ready any more, ends in {drain:g} s", flush=True)
        threading.Event().wait(drain)
    finally:
        server.stop(at_once=True)
    if keeper.error is not None:
        raise RuntimeError(f"Triton was no longer looked after: {keeper.error}") from keeper.error


class _Keeper(threading.Thread):
    """Looks after Triton beside the thread that waits to be asked to end: it may itself wait for a model's lock."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        super().__init__(name="keeper", daemon=True)
        self._supervisor, self._stop_asked = Supervisor(settings), stop
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self._supervisor.run(self._stop_asked)
        except Exception as error:  # whatever it is: who is not looked after must not stay
            self.error = error
            self._stop_asked.set()


def main(words: list[str] | None = None) -> int:
    """Run the command until SIGINT or SIGTERM; return 0, 1 after one line if Triton does not start."""
    parser = argparse.ArgumentParser(prog="python -m serving.replica", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--drain", type=float, default=DRAIN_SECONDS, help="seconds between not being ready and the end (%(default)s)"
    )
    options = parser.parse_args(words)
    if options.drain < 0:
        parser.error("--drain: seconds, 0 or more")
    stop = asked_to_end()
    try:
        serve(Settings(), stop, options.drain)
    except (OSError, LookupError, ValueError, RuntimeError) as error:
        print(f"headwater: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
