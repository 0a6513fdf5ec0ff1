"""How a command ends: what went wrong, or was not given, in one line on standard error, and its status."""

import functools
import logging
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import ParamSpec

from assets.failures import one_line
from checks.guard import GateClosed
from ml import remedies

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


def require_given(target: str, **variables: tuple[str, str | Sequence[str]]) -> None:
    """End a command that `make <target>` starts, with status 2, unless all it needs was given.

    Each variable is its value and what it may be: the names that there are, or words for them. The one line that is
    printed names the variable at fault and shows the whole command.
    """
    wrong = [name for name, (value, may) in variables.items() if not _is_given(value, may)]
    if not wrong:
        return
    value, _ = variables[wrong[0]]
    problem = f"{wrong[0]} is {value!r}" if value else f"{wrong[0]} is missing"
    words = [f"{name}=" + (f"<{either(may)}>" if name in wrong else value) for name, (value, may) in variables.items()]
    print(f"headwater: {problem}: {remedies.here(' '.join(['make', target, *words]))}", file=sys.stderr)
    raise SystemExit(2)


def either(names: str | Sequence[str]) -> str:
    """Return names as people list them: a, b or c. A text is left as it is."""
    if isinstance(names, str):
        return names
    return " or ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def _is_given(value: str, may: str | Sequence[str]) -> bool:
    return bool(value) and (isinstance(may, str) or value in may)
