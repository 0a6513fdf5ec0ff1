"""The end of a process: without noise that nobody can act on, and at once.

What belongs to a command's own end, such as servers that it stops, is done before.
"""

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn


def quiet_exit() -> None:
    """Drop what libraries print to stderr once the interpreter shuts down.

    DuckDB's binding reports every object still alive then as a leak; they are not.
    """
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))


def leave(status: int) -> NoReturn:
    """End this process with `status`, after all that was registered for its end.

    Nothing is taken down object by object: with all that a run of the line loads, that takes two seconds.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody reads any more
            stream.flush()
    os._exit(status)
