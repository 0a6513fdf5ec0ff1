"""Locks of the lake's tables, as files in one folder, and what is said where a table cannot be written.

Not here: which writes need a lock (Delta's own commits need none).
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deltalake.exceptions import CommitFailedError

from ml.delta_log import first_line


@contextmanager
def table_lock(locks: Path, table: str, address: str) -> Iterator[None]:
    """Hold the lock of the table at `address`, waiting for another process that holds it. It ends with its process.

    Raises OSError naming the table if the folder of locks cannot be written.
    """
    path = locks / (table.replace("/", "--") + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise OSError(error.errno, unwritable(table, address, error)) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def unwritable(table: str, address: str, error: Exception) -> str:
    """Return the message of a table that could not be written: why, and what to do."""
    reason = first_line(error)
    remedy = "see that the folder is writable and the disk has room"
    if address.startswith("s3://"):
        remedy = "see that the credentials may write and delete there"
    if isinstance(error, CommitFailedError):
        remedy = "somebody else wrote it at the same time"
    return f"table {table!r} was not written, nothing in {address} has changed: {reason}; {remedy}, then run again"
