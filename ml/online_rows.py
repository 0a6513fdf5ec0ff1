"""The online table in SQLite: the newest packed row of each entity of each view. Knows bytes, not features.

Writers are few (batch rebuild, event push, Feast); readers are many and see whole transactions (WAL).
Standard library and `ml.packed` only.
"""

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ml.packed import row_times

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS online_rows "
    "(view TEXT, key BLOB, row BLOB, known_us INTEGER, PRIMARY KEY (view, key)) WITHOUT ROWID"
)
# A version that is equal in both instants replaces the old one: publishing again can repair values.
_UPSERT = (
    "INSERT INTO online_rows VALUES (?, ?, ?, ?) ON CONFLICT (view, key) DO UPDATE "
    "SET row = excluded.row, known_us = excluded.known_us WHERE not_older(excluded.row, online_rows.row)"
)
_MOST_KEYS = 10_000  # a query's parameters; SQLite allows 32,766


class OnlineRow(NamedTuple):
    """One entity's packed key and values, and max(event, created) in microseconds since the epoch, UTC."""

    key: bytes
    row: bytes
    known_us: int


class OnlineRows:
    """The online table in the file `path`, made if it is missing. May be shared by threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    def upsert(self, view: str, rows: Iterable[OnlineRow]) -> int:
        """Write rows in their order, in one transaction, and return how many came.

        A row never overwrites one of the same entity with a later (event, created).
        """
        return self._write(view, rows, clear=False)

    def replace(self, view: str, rows: Iterable[OnlineRow]) -> int:
        """Make `rows` all there is of `view`, in one transaction, and return how many came."""
        return self._write(view, rows, clear=True)

    def read(self, view: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the packed row of each key in order, None where there is none."""
        found: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _MOST_KEYS):
            part = keys[start : start + _MOST_KEYS]
            marks = ",".join("?" * len(part))
            query = f"SELECT key, row FROM online_rows WHERE view = ? AND key IN ({marks})"
            found.update(self._connection().execute(query, (view, *part)).fetchall())
        return [found.get(key) for key in keys]

    def count(self, view: str) -> int:
        """Return the number of entities of `view`."""
        return self._connection().execute("SELECT count(*) FROM online_rows WHERE view = ?", (view,)).fetchone()[0]

    def delete(self, views: Iterable[str]) -> None:
        """Remove all rows of `views`."""
        with self._connection() as connection:
            connection.executemany("DELETE FROM online_rows WHERE view = ?", [(view,) for view in views])

    def close(self) -> None:
        """Close this thread's connection."""
        if connection := getattr(self._local, "connection", None):
            connection.close()
            self._local.connection = None

    def _write(self, view: str, rows: Iterable[OnlineRow], clear: bool) -> int:
        batch = [(view, *row) for row in rows]
        connection = self._connection()
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            if clear:
                connection.execute("DELETE FROM online_rows WHERE view = ?", (view,))
            connection.executemany(_UPSERT, batch)
        return len(batch)

    def _connection(self) -> sqlite3.Connection:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(_SCHEMA)
            connection.create_function("not_older", 2, _not_older, deterministic=True)
            self._local.connection = connection
        return connection


def _not_older(new: bytes, old: bytes) -> bool:
    return row_times(new) >= row_times(old)
