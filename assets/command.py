"""How a command ends: what went wrong in one line on standard error, and its status."""

import functools
import logging
import signal
import sys
import warnings
from collections.abc import Callable
from typing import ParamSpec

from assets.failures import one_line
from checks.guard import GateClosed

REFUSALS = (LookupError, ValueError, OSError, GateClosed)  # of what is asked for; anything else is a bug

Given = ParamSpec("Given")


def in_one_line(*errors: type[Exception]) -> Callable[[Callable[Given, int]], Callable[Given, int]]:
    """Decorate what runs a command: it returns 1 after one line on one of `errors`."""

    def decorated(main: Callable[Given, int]) -> Callable[Given, int]:
        @functools.wraps(main)
        def told(*args: Given.args, **kwargs: Given.kwargs) -> int:
            try:
                return main(*args, **kwargs)
            except errors as error:
                print(f"headwater: {one_line(error)}", file=sys.stderr)
                return 1

        return told

    return decorated


def interruptible(stopped: str) -> Callable[[Callable[Given, int]], Callable[Given, int]]:
    """Decorate what runs a long command: it returns 1 after one line on any error, 130 on Ctrl-C or SIGTERM.

    Libraries keep their warnings to themselves. `stopped` says what was ended by then, or is gone.
    """

    def decorated(main: Callable[Given, int]) -> Callable[Given, int]:
        @functools.wraps(main)
        def told(*args: Given.args, **kwargs: Given.kwargs) -> int:
            warnings.simplefilter("ignore")
            logging.getLogger().setLevel(logging.ERROR)
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                return in_one_line(Exception)(main)(*args, **kwargs)
            except KeyboardInterrupt:
                print(f"\nheadwater: interrupted; {stopped}", file=sys.stderr)
                return 130

        return told

    return decorated
