"""A server of our own as a child process: its password in a file, its start, its readiness, its end.

Which servers there are: assets/postgres_server.py, assets/redis_server.py; what they are for: assets/services.py.
"""

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ml.process import end_with_parent

_READY_SECONDS = 30.0
_STOP_SECONDS = 30.0


def password_in(file: Path) -> str:
    """Return the password in a file, drawn at first."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_private(file, secrets.token_urlsafe(24))
    return file.read_text()


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as kept:
        kept.write(text)


def launch(words: Sequence[Any], log: Path, ended_by: signal.Signals, how: dict[str, Any]) -> "subprocess.Popen[bytes]":
    """Start a server whose words go to `log`; if this process is killed, it gets the signal that ends it well.

    It is in a session of its own: Ctrl-C is for who works with it, and it is stopped after them.
    """
    with log.open("ab") as file:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            preexec_fn=partial(end_with_parent, ended_by),
            **how,
        )


def await_ready(process: "subprocess.Popen[bytes]", ready: Callable[[], bool], log: Path) -> None:
    """Return when the server is ready. Raises LookupError with its last words if it ends or takes too long."""
    until = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < until:
        if ready():
            return
        time.sleep(0.02)
    end(process, signal.SIGTERM)
    said = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    raise LookupError(f"{Path(str(process.args[0])).name} does not start: {said[-1]} (its log: {log})")  # type: ignore[index]


def end(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Ask a server to end, and return when it has; one that does not is killed."""
    process.send_signal(number)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
