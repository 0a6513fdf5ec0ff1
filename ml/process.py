"""How a child process of ours behaves: shares the cores, ends with its parent and when asked. Linux only."""

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1
_GRACE_SECONDS = 5.0


class _Ending:
    """Whether an end that is asked for waits for somebody to look, and the signal that asked."""

    waits = False
    number = 0


def share_cores() -> None:
    """Have OpenMP's threads sleep while they wait, unless OMP_WAIT_POLICY says otherwise.

    Call it before torch is imported. Waiting threads spin by default: with both cores shared, an epoch
    then took 5 times the CPU seconds; the numbers computed are the same.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """Have the kernel send this process a signal when the thread that started it ends, however it ends.

    See prctl(2), PR_SET_PDEATHSIG. Raises OSError if the kernel refuses.
    """
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended before the kernel knew
        raise SystemExit(128 + number)


def end_when_asked() -> None:
    """End on SIGINT or SIGTERM with status 128 + signal: tidily, or by force after 5 seconds.

    A second signal ends the process at once.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    for again in (signal.SIGINT, signal.SIGTERM):
        signal.signal(again, signal.SIG_DFL)
    forced = threading.Timer(_GRACE_SECONDS, os._exit, [128 + number])
    forced.daemon = True
    forced.start()
    _Ending.number = number
    if not _Ending.waits:
        raise SystemExit(128 + number)


@contextmanager
def ending_later() -> Iterator[Callable[[], int]]:
    """Have an end that is asked for meanwhile (`end_when_asked`) wait, though not longer than it may take.

    Gives a function that returns the status to end with, 0 while nobody asked: look often, leave things tidy, raise
    SystemExit. Who does not look ends with the block.
    """
    _Ending.waits = True
    try:
        yield lambda: _Ending.number and 128 + _Ending.number
    finally:
        _Ending.waits = False
    if _Ending.number:
        raise SystemExit(128 + _Ending.number)


def held_open() -> set[Path]:
    """Return the files that processes on this machine hold open, as far as this user may look."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            found.add(link.readlink())
    return found
