"""Reads online feature rows for the router: many entities a query, ttl against the clock, a deadline.

Standard library only. Writing the online store is the feature store's part, in `ml`.
"""

import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

from ml.packed import PackedRow, Value, entity_key, unpack
from serving.plan import View

Status = Literal["present", "not_found", "outside_max_age", "not_read"]
Entity = Mapping[str, str | int | None]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHUNK = 512  # keys a query; SQLite takes more, but the statement stays small
_STEPS = 1000  # SQLite instructions between two looks at the deadline


class OnlineRow(NamedTuple):
    """One entity's values in the view's field order, and its row's event time if any (microseconds, UTC).

    Values are all None unless the status is `present`.
    """

    values: tuple[Value, ...]
    event_us: int | None
    status: Status


class OnlineFeatures:
    """The SQLite online store, opened read-only and reopened when its file is replaced."""

    def __init__(self, path: Path) -> None:
        """Raise LookupError if there is no store at `path`."""
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._connection: sqlite3.Connection | None = None
        self._open()

    def read(self, view: View, entities: Sequence[Entity], now: datetime, deadline: float) -> list[OnlineRow]:
        """Return one row an entity, in order.

        `deadline` is an instant of `time.perf_counter`; rows not read by then have the status `not_read`.
        An entity with a None join key is `not_found`. A row older than the view's ttl at `now` is
        `outside_max_age`, and one from after `now` is `not_found`. Raises LookupError if the store cannot be
        read, ValueError if a row does not fit the view.
        """
        keys = [None if None in entity.values() else entity_key(entity) for entity in entities]  # type: ignore[arg-type]
        found = self._fetch(view, sorted({key for key in keys if key is not None}), deadline)
        if found is None:
            return [OnlineRow(_nulls(view), None, "not_read")] * len(keys)
        now_us = (now - _EPOCH) // timedelta(microseconds=1)
        rows = {key: _as_of(view, row, now_us) for key, row in found.items()}
        unknown = OnlineRow(_nulls(view), None, "not_found")
        return [unknown if key is None else rows.get(key, unknown) for key in keys]

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fetch(self, view: View, keys: list[bytes], deadline: float) -> dict[bytes, bytes] | None:
        connection = self._open()
        connection.set_progress_handler(lambda: time.perf_counter() > deadline, _STEPS)
        found: dict[bytes, bytes] = {}
        try:
            for start in range(0, len(keys), _CHUNK):
                left_ms = int((deadline - time.perf_counter()) * 1000)
                if left_ms < 0:
                    return None
                connection.execute(f"PRAGMA busy_timeout = {left_ms}")
                found.update(connection.execute(*_query(view.name, keys[start : start + _CHUNK])))
        except sqlite3.OperationalError as error:
            if time.perf_counter() > deadline or "locked" in str(error):
                return None
            raise LookupError(
                f"online store {self._path} cannot be read: {error}; publish the features again"
            ) from error
        except sqlite3.DatabaseError as error:
            raise LookupError(f"online store {self._path} is damaged: {error}; publish the features again") from error
        return found

    def _open(self) -> sqlite3.Connection:
        try:
            stat = os.stat(self._path)
        except OSError as error:
            raise LookupError(f"no online store at {self._path}; publish the features first (make demo)") from error
        if self._connection is None or self._identity != (stat.st_dev, stat.st_ino):
            self.close()
            self._identity = (stat.st_dev, stat.st_ino)
            address = f"{self._path.absolute().as_uri()}?mode=ro"
            self._connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
        return self._connection


def _query(view: str, keys: list[bytes]) -> tuple[str, list[str | bytes]]:
    # A power of two of marks, the last key repeated: few distinct statements, all of them cached.
    size = 1 << (len(keys) - 1).bit_length()
    padded = keys + keys[-1:] * (size - len(keys))
    marks = ",".join("?" * size)
    return f"SELECT key, row FROM online_rows WHERE view = ? AND key IN ({marks})", [view, *padded]


def _as_of(view: View, row: bytes, now_us: int) -> OnlineRow:
    try:
        packed: PackedRow = unpack(view.fields, row)
    except ValueError as error:
        raise ValueError(f"view {view.name!r}: {error}; deploy the model again for the view's new fields") from error
    if max(packed.event_us, packed.created_us) > now_us:
        return OnlineRow(_nulls(view), None, "not_found")
    if now_us - packed.event_us > view.ttl_seconds * 1_000_000:
        return OnlineRow(_nulls(view), packed.event_us, "outside_max_age")
    return OnlineRow(packed.values, packed.event_us, "present")


def _nulls(view: View) -> tuple[Value, ...]:
    return (None,) * len(view.fields)
