"""An exit without noise that nobody can act on."""

import atexit
import os


def quiet_exit() -> None:
    """Drop what libraries print to stderr once the interpreter shuts down.

    DuckDB's binding reports every object still alive then as a leak; they are not.
    """
    atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))
