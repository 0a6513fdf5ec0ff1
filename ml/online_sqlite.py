"""The online store in a SQLite file: one table, write-ahead log, so that writers never hold up readers.

Standard library only. What an online store promises is written in `ml.online_rows`.
"""

import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from ml.online_rows import OnlineRow, OnlineStoreError, ViewSummary
from ml.packed import row_times

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS packed_rows (view TEXT, key TEXT, row BLOB, event_us INTEGER, created_us INTEGER, "
    "PRIMARY KEY (view, key)) WITHOUT ROWID"
)
# A version equal in both instants replaces the old one, as the table's later row wins offline.
_UPSERT = (
    "INSERT INTO packed_rows VALUES (?, ?, ?, ?, ?) ON CONFLICT (view, key) DO UPDATE "
    "SET row = excluded.row, event_us = excluded.event_us, created_us = excluded.created_us "
    "WHERE (excluded.event_us, excluded.created_us) >= (event_us, created_us) AND excluded.row <> row"
)
_MOST_KEYS = 4096  # of a view in one statement; SQLite takes 32,766 parameters
_STEPS = 1000  # SQLite instructions between two looks at the deadline
_WAIT_S = 30.0  # for another writer


class SqliteRows:
    """The online store in the file `path`. May be shared by threads."""

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self._path = path
        self._read_only = read_only
        self._local = threading.local()

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

        More than 4,096 keys of a view are read in several.
        """
        longest = max((len(keys) for _, keys in wanted), default=0)
        parts: list[list[list[bytes | None]]] = []
        for start in range(0, max(longest, 1), _MOST_KEYS):
            part = self._fetch([(view, keys[start : start + _MOST_KEYS]) for view, keys in wanted], deadline)
            if part is None:
                return None
            parts.append(part)
        if len(parts) == 1:
            return parts[0]
        return [[row for part in parts for row in part[index]] for index in range(len(wanted))]

    def written(self, views: Sequence[str]) -> set[str]:
        """Return those of `views` that have any row."""
        with self._named():
            query = "SELECT 1 FROM packed_rows WHERE view = ? LIMIT 1"
            return {view for view in views if self._connection().execute(query, (view,)).fetchone()}

    def summary(self, view: str) -> ViewSummary:
        """Return how much there is of `view`."""
        query = "SELECT count(*), max(event_us) FROM packed_rows WHERE view = ?"
        with self._named():
            return ViewSummary(*self._connection().execute(query, (view,)).fetchone())

    def delete(self, views: Iterable[str]) -> None:
        """Remove all rows of `views`."""
        with self._named(), self._connection() as connection:
            connection.executemany("DELETE FROM packed_rows WHERE view = ?", [(view,) for view in views])

    def close(self) -> None:
        """Close this thread's connection."""
        if connection := getattr(self._local, "connection", None):
            connection.close()
            self._local.connection = None

    def _write(self, view: str, rows: Iterable[OnlineRow], clear: bool) -> int:
        batch = [(view, key, row, *row_times(row)) for key, row in rows]
        with self._named():
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                if clear:
                    connection.execute("DELETE FROM packed_rows WHERE view = ?", (view,))
                before = connection.total_changes
                connection.executemany(_UPSERT, batch)
                if clear:
                    count = "SELECT count(*) FROM packed_rows WHERE view = ?"
                    return connection.execute(count, (view,)).fetchone()[0]
                return connection.total_changes - before

    def _fetch(
        self, wanted: Sequence[tuple[str, Sequence[str]]], deadline: float | None
    ) -> list[list[bytes | None]] | None:
        sets, numbers = _key_sets(wanted)
        if not sets:
            return [[] for _ in wanted]
        parameters = [key for keys in sets for key in _padded(keys)] + [view for view, _ in wanted]
        query = _query(tuple(_size(len(keys)) for keys in sets), tuple(numbers))
        found: list[dict[str, bytes]] = [{} for _ in wanted]
        with self._named():
            try:
                for index, key, row in self._execute(query, parameters, deadline):
                    found[index][key] = row
            except sqlite3.OperationalError:
                if deadline is not None and time.perf_counter() > deadline:
                    return None
                raise
        return [list(map(rows.get, keys)) for rows, (_, keys) in zip(found, wanted, strict=True)]

    def _execute(self, query: str, parameters: list[str], deadline: float | None) -> sqlite3.Cursor:
        connection = self._connection()
        if deadline is None:
            connection.set_progress_handler(None, 0)
        else:
            connection.set_progress_handler(lambda: time.perf_counter() > deadline, _STEPS)
            if time.perf_counter() > deadline:
                raise sqlite3.OperationalError("the deadline has passed")
        while True:
            try:
                return connection.execute(query, parameters)
            except sqlite3.OperationalError as error:
                # Only while another process recovers the file or swaps its log is a reader locked out.
                if "locked" not in str(error) or deadline is None or time.perf_counter() > deadline:
                    raise
                time.sleep(0.0005)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say which store it was, and what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OnlineStoreError(
                f"online store {self._path} cannot be used: {error}; see that its disk and rights are in order, "
                "or publish the features again"
            ) from error
        except sqlite3.DatabaseError as error:
            raise OnlineStoreError(
                f"online store {self._path} is damaged: {error}; delete it and publish the features again"
            ) from error

    def _connection(self) -> sqlite3.Connection:
        connection, identity = getattr(self._local, "connection", None), self._identity()
        if connection is not None and identity is not None and self._local.identity == identity:
            return connection
        self.close()
        if self._read_only:
            if identity is None:
                raise OnlineStoreError(f"no online store at {self._path}; publish the features first (make demo)")
            address = f"{self._path.absolute().as_uri()}?mode=ro"
            connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=0)
        else:
            connection = self._writer()
        self._local.connection, self._local.identity = connection, self._identity()
        return connection

    def _identity(self) -> tuple[int, int] | None:
        """Tell the file apart from one that took its place."""
        try:
            stat = self._path.stat()
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


def _key_sets(wanted: Sequence[tuple[str, Sequence[str]]]) -> tuple[list[Sequence[str]], list[int]]:
    """Return the distinct lists of keys, none empty, and for each view the number of its list, -1 for none."""
    sets: list[Sequence[str]] = []
    numbers: list[int] = []
    seen: dict[int, int] = {}
    for _, keys in wanted:
        if keys and id(keys) not in seen:
            seen[id(keys)] = len(sets)
            sets.append(keys)
        numbers.append(seen[id(keys)] if keys else -1)
    return sets, numbers


def _size(count: int) -> int:
    # A power of two, the last key repeated: few distinct statements, which SQLite keeps prepared.
    return 1 << (count - 1).bit_length()


def _padded(keys: Sequence[str]) -> list[str]:
    return [*keys, *keys[-1:] * (_size(len(keys)) - len(keys))]


@lru_cache(maxsize=256)
def _query(sizes: tuple[int, ...], numbers: tuple[int, ...]) -> str:
    """Return one statement that reads every view: its parameters are the lists of keys, then the views."""
    lists = ", ".join(f"k{n}(key) AS (VALUES {','.join(['(?)'] * size)})" for n, size in enumerate(sizes))
    first = sum(sizes) + 1
    arms = " UNION ALL ".join(
        f"SELECT {index}, k{number}.key, row FROM k{number} "
        f"CROSS JOIN packed_rows p ON p.view = ?{first + index} AND p.key = k{number}.key"
        for index, number in enumerate(numbers)
        if number >= 0
    )
    return f"WITH {lists} {arms}"
