"""The online store in a SQLite file: one table, write-ahead log, so that writers never hold up readers.

Standard library only. What an online store promises is written in `ml.online_rows`.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path

from ml import remedies
from ml.online_rows import OnlineRow, OnlineStoreError, ViewSummary
from ml.packed import row_times

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS packed_rows (key TEXT PRIMARY KEY, row BLOB, event_us INTEGER, created_us INTEGER) "
    "WITHOUT ROWID"
)
# A version equal in both instants replaces the old one, as the table's later row wins offline.
_UPSERT = (
    "INSERT INTO packed_rows VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE "
    "SET row = excluded.row, event_us = excluded.event_us, created_us = excluded.created_us "
    "WHERE (excluded.event_us, excluded.created_us) >= (event_us, created_us) AND excluded.row <> row"
)
_OF_VIEW = "key >= ? AND key < ?"
_CACHE = "PRAGMA cache_size = -65536"  # KiB; SQLite's 2 MiB hold less than one view
_MOST_KEYS = 2**14  # in one statement; SQLite takes 32,766
_MOST_JOINED = 2**12  # measured: a fifth faster up to about so many, slower at 16,384
_STEPS = 1000  # SQLite instructions between two looks at the deadline
_WAIT_S = 30.0  # for another writer
_LOCKED_S = 5.0  # that a reader without a deadline waits


class SqliteRows:
    """The online store in the file `path`. May be shared by threads."""

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self._path = path
        self._read_only = read_only
        self._local = threading.local()
        self._named = _Named(path)

    def upsert(self, view: str, rows: Iterable[OnlineRow]) -> int:
        """Write rows in their order, in one transaction, and return how many changed something."""
        return self._write(view, rows, clear=False)

    def replace(self, view: str, rows: Iterable[OnlineRow]) -> int:
        """Make `rows` all there is of `view`, in one transaction, and return how many entities it has."""
        return self._write(view, rows, clear=True)

    def fetch(
        self, wanted: Sequence[tuple[str, Sequence[str]]], deadline: float | None = None
    ) -> list[list[bytes | None]] | None:
        """Return the rows of each (view, keys) in order, None for a key without one, in one statement.

        More than 16,384 keys are read in several.
        """
        named = [[f"{view}:{key}" for key in keys] for view, keys in wanted]
        every = list(chain.from_iterable(named))
        found: dict[str, bytes] = {}
        with self._named:
            try:
                for start in range(0, len(every), _MOST_KEYS):
                    found.update(self._select(every[start : start + _MOST_KEYS], deadline))
            except sqlite3.OperationalError:
                if deadline is not None and time.perf_counter() > deadline:
                    return None
                raise
        return [list(map(found.get, keys)) for keys in named]

    def written(self, views: Sequence[str], deadline: float | None = None) -> set[str] | None:
        """Return those of `views` that have any row; one look each, so the deadline bounds only waiting."""
        with self._named:
            query = f"SELECT 1 FROM packed_rows WHERE {_OF_VIEW} LIMIT 1"
            try:
                return {view for view in views if self._patiently(query, _bounds(view), deadline).fetchone()}
            except sqlite3.OperationalError:
                if deadline is not None and time.perf_counter() > deadline:
                    return None
                raise

    def summary(self, view: str) -> ViewSummary:
        """Return how much there is of `view`."""
        query = f"SELECT count(*), max(event_us) FROM packed_rows WHERE {_OF_VIEW}"
        with self._named:
            return ViewSummary(*self._connection().execute(query, _bounds(view)).fetchone())

    def delete(self, views: Iterable[str]) -> None:
        """Remove all rows of `views`."""
        with self._named, self._connection() as connection:
            connection.executemany(f"DELETE FROM packed_rows WHERE {_OF_VIEW}", [_bounds(view) for view in views])

    def close(self) -> None:
        """Close this thread's connection."""
        if connection := getattr(self._local, "connection", None):
            connection.close()
            self._local.connection = None

    def _write(self, view: str, rows: Iterable[OnlineRow], clear: bool) -> int:
        batch = [(f"{view}:{key}", row, *row_times(row)) for key, row in rows]
        with self._named:
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                if clear:
                    connection.execute(f"DELETE FROM packed_rows WHERE {_OF_VIEW}", _bounds(view))
                before = connection.total_changes
                connection.executemany(_UPSERT, batch)
                changed = connection.total_changes - before
            return self.summary(view).rows if clear else changed

    def _select(self, keys: list[str], deadline: float | None) -> sqlite3.Cursor:
        # Sizes in sixteenths of a power of two, the last key repeated: few statements, all of them kept prepared.
        step = 1 << max((len(keys) - 1).bit_length() - 4, 0)
        padded = keys + keys[-1:] * (-len(keys) % step)
        return self._patiently(_query(len(padded)), padded, deadline)

    def _patiently(self, query: str, values: Sequence[str], deadline: float | None) -> sqlite3.Cursor:
        """Ask again while another process recovers the file or swaps its log: only then is a reader locked out."""
        until = time.perf_counter() + _LOCKED_S if deadline is None else deadline
        while True:
            try:
                connection = self._connection()
                if deadline is None:
                    connection.set_progress_handler(None, 0)
                elif time.perf_counter() > deadline:
                    raise sqlite3.OperationalError("the deadline has passed")
                else:
                    connection.set_progress_handler(lambda: time.perf_counter() > deadline, _STEPS)
                return connection.execute(query, values)
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.perf_counter() > until:
                    raise
                time.sleep(0.0005)

    def _connection(self) -> sqlite3.Connection:
        connection, identity = getattr(self._local, "connection", None), self._identity()
        if connection is not None and identity is not None and self._local.identity == identity:
            return connection
        self.close()
        if self._read_only:
            if identity is None:
                raise OnlineStoreError(f"no online store at {self._path}; {remedies.publish()}")
            address = f"{self._path.absolute().as_uri()}?mode=ro"
            connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=0, cached_statements=256)
        else:
            connection = self._writer()
        connection.execute(_CACHE)
        self._local.connection, self._local.identity = connection, self._identity()
        return connection

    def _identity(self) -> tuple[int, int] | None:
        """Tell the file apart from one that took its place."""
        try:
            stat = os.stat(self._path)
        except OSError:
            return None
        return stat.st_dev, stat.st_ino

    def _writer(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OnlineStoreError(f"online store {self._path} cannot be made: {error}; free its place") from error
        connection = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(_SCHEMA)
        return connection


class _Named:
    """Says which store an error came from, and what to do."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.OperationalError):
            raise OnlineStoreError(
                f"online store {self._path} cannot be used: {error}; see that its disk and rights are in order, "
                "or publish the features again"
            ) from error
        if isinstance(error, sqlite3.DatabaseError):
            raise OnlineStoreError(
                f"online store {self._path} is damaged: {error}; delete it and publish the features again"
            ) from error


def _bounds(view: str) -> tuple[str, str]:
    """Return the bounds of a view's keys: ";" comes after ":"."""
    return f"{view}:", f"{view};"


@lru_cache
def _query(size: int) -> str:
    """Return the question for so many keys: as a join where they are few, which spares SQLite an index of them."""
    if size > _MOST_JOINED:
        return f"SELECT key, row FROM packed_rows WHERE key IN ({','.join('?' * size)})"
    asked = ",".join(["(?)"] * size)
    return f"WITH asked (name) AS (VALUES {asked}) SELECT key, row FROM asked CROSS JOIN packed_rows ON key = name"
