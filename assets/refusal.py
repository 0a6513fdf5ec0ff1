"""How a command ends that was asked for what is not to be had: one line on what to do instead, and status 1.

Not here: commands that take long and may be interrupted (`run` in `assets/stages.py`, `command` in `assets/drill.py`).
"""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec

from assets.failures import one_line
from checks.guard import GateClosed

REFUSALS = (LookupError, ValueError, OSError, GateClosed)

Given = ParamSpec("Given")


def in_one_line(*errors: type[Exception]) -> Callable[[Callable[Given, int]], Callable[Given, int]]:
    """Decorate a command's `main`: one of `errors` is told in one line on standard error, and 1 returned."""

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
