"""Asks again, within a deadline, where that is certain to repeat nothing.

What such an error is, `channel` says; who asks again, its callers decide.
"""

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from serving.channel import BusyError, UnsentError

FIRST_SECONDS = 0.02
LONGEST_SECONDS = 0.5

T = TypeVar("T")


def retried(call: Callable[[], T], until: float) -> T:
    """Return what `call` returns, made again after an UnsentError or BusyError until `until` (time.monotonic).

    Raises the last error when the next pause would not end in time.
    """
    for pause in pauses():
        try:
            return call()
        except (UnsentError, BusyError):
            if time.monotonic() + pause >= until:
                raise
        time.sleep(pause)
    raise AssertionError("pauses never end")


def pauses() -> Iterator[float]:
    """Yield the seconds between tries: up to twice as long each time, and random, so that callers spread out."""
    longest = FIRST_SECONDS
    while True:
        yield random.uniform(longest / 2, longest)
        longest = min(2 * longest, LONGEST_SECONDS)
