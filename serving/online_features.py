"""Reads online feature rows for the router: all views and entities of a batch in one round trip.

Ttl counts against the given instant, and a deadline bounds the read. Writing the online store, and where it
is, are `ml`'s part. Runs in the serving environment.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, TypeVar, get_args

import numpy as np

from ml.online_rows import open_online_rows
from ml.packed import Columns, Key, Layout, Value, encode_keys, layout_of
from serving.log_frames import NEVER
from serving.plan import View

Status = Literal["present", "not_found", "outside_max_age", "never_written", "not_read", "not_needed"]
STATUSES: tuple[Status, ...] = get_args(Status)  # the prediction log keeps their places
NOT_READ, NOT_NEEDED = STATUSES.index("not_read"), STATUSES.index("not_needed")

_CODES: dict[Status, int] = {status: code for code, status in enumerate(STATUSES)}
_MOST_CACHED = 500_000  # rows; at about 150 bytes each, 75 MB
_MANY = 24  # rows from which arrays are faster than lists

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class ViewRows(NamedTuple):
    """One view's values, a column a field in the view's order, its rows' event times (microseconds, UTC), statuses.

    Each column has one entry an entity. A value is None where it is null at the source, and wherever the status
    is not `present`:

    - `not_found`: the view has no row of this entity, a join key is missing, or the row is from after now;
    - `outside_max_age`: its row is older than the view's ttl;
    - `never_written`: the view has no rows at all in the store;
    - `not_read`: the deadline passed, or the store was down;
    - `not_needed`: the version that answers does not read the view (said by `scored`, not here).
    """

    values: Sequence[Sequence[Value]]
    event_us: Sequence[int | None]
    status: Sequence[Status]


class ViewArrays(NamedTuple):
    """The same as arrays: numbers float64 [rows] with NaN for null, `event_us` int64 with NEVER, `status` uint8.

    A status is its place in STATUSES. Of few rows all are lists, with None for null, which is faster.
    """

    values: Sequence[Sequence[Value] | np.ndarray]
    event_us: Sequence[int] | np.ndarray
    status: Sequence[int] | np.ndarray


_Rows = TypeVar("_Rows", ViewRows, ViewArrays)


class OnlineFeatures:
    """The online rows of `views` in the store at `address`. Opened again by itself after it was away.

    Rows that were read, and that there was none, are kept for `cache_seconds` at most; 0: every read asks the store.
    """

    def __init__(self, address: str, views: Sequence[View], cache_seconds: float = 0.0) -> None:
        self._rows = open_online_rows(address, read_only=True)
        self._cache_seconds = cache_seconds
        self._cached: dict[str, dict[str, bytes | None]] = {}
        self._cached_until = 0.0
        names = [tuple(sorted(key.name for key in view.join_keys)) for view in views]
        self._key_sets = list(dict.fromkeys(names))
        self._views = [
            _Prepared(view, layout_of(view.fields), round(view.ttl_seconds * 1_000_000), self._key_sets.index(keys))
            for view, keys in zip(views, names, strict=True)
        ]

    def require(self) -> None:
        """Raise OnlineStoreError unless the store can be read."""
        self._rows.written([prepared.view.name for prepared in self._views])

    def read(self, join_keys: Mapping[str, Sequence[Key]], now: datetime, deadline: float) -> dict[str, ViewRows]:
        """Return the rows of each view by name, for entities whose join keys are given as columns [rows].

        `deadline` is an instant of `time.perf_counter`. Raises OnlineStoreError if the store cannot be read,
        ValueError if a row does not fit its view.
        """
        found = self._decoded(join_keys, now, deadline, _Prepared.decode)
        return self.unread(len(next(iter(join_keys.values())))) if found is None else found

    def arrays(self, join_keys: Mapping[str, Sequence[Key]], now: datetime, deadline: float) -> dict[str, ViewArrays]:
        """Do the same as `read`, into arrays."""
        found = self._decoded(join_keys, now, deadline, _Prepared.arrays)
        return self.unread_arrays(len(next(iter(join_keys.values())))) if found is None else found

    def _decoded(
        self,
        join_keys: Mapping[str, Sequence[Key]],
        now: datetime,
        deadline: float,
        decode: "Callable[[_Prepared, Sequence[bytes | None], int, Status], _Rows]",
    ) -> "dict[str, _Rows] | None":
        found = self._fetch(join_keys, deadline)
        if found is None:
            return None
        now_us = (now - _EPOCH) // _MICROSECOND
        return {
            view.view.name: decode(view, rows, now_us, absent)
            for view, (rows, absent) in zip(self._views, found, strict=True)
        }

    def _fetch(
        self, join_keys: Mapping[str, Sequence[Key]], deadline: float
    ) -> list[tuple[Sequence[bytes | None], Status]] | None:
        """Return each view's packed rows, and why one is not there; None if the deadline passed."""
        keys = [encode_keys([join_keys[name] for name in names]) for names in self._key_sets]
        asked = [_distinct(column) for column in keys]
        found = self._stored([(view.view.name, asked[view.key_set]) for view in self._views], deadline)
        if found is None:
            return None
        absent = [view.view.name for view, rows in zip(self._views, found, strict=True) if not any(rows)]
        written = self._rows.written(absent, deadline) if absent else None
        empty = set() if written is None else set(absent) - written
        whole: list[tuple[Sequence[bytes | None], Status]] = []
        for view, rows in zip(self._views, found, strict=True):
            if len(asked[view.key_set]) < len(keys[view.key_set]):
                by_key: dict[str | None, bytes | None] = dict(zip(asked[view.key_set], rows, strict=True))
                rows = list(map(by_key.get, keys[view.key_set]))
            whole.append((rows, "never_written" if view.view.name in empty else "not_found"))
        return whole

    def _stored(
        self, wanted: Sequence[tuple[str, Sequence[str]]], deadline: float
    ) -> Sequence[Sequence[bytes | None]] | None:
        """Return the rows of each (view, keys), from the cache as far as it has them; None if the deadline passed."""
        if not self._cache_seconds:
            return self._rows.fetch(wanted, deadline)
        now = time.perf_counter()
        if now >= self._cached_until or sum(map(len, self._cached.values())) > _MOST_CACHED:
            self._cached = {view: {} for view, _ in wanted}  # all at once: no row is older than the oldest could be
            self._cached_until = now + self._cache_seconds
        missing = [(view, [key for key in keys if key not in self._cached[view]]) for view, keys in wanted]
        if any(keys for _, keys in missing):
            found = self._rows.fetch(missing, deadline)
            if found is None:
                return None
            for (view, keys), rows in zip(missing, found, strict=True):
                self._cached[view].update(zip(keys, rows, strict=True))
        return [[self._cached[view][key] for key in keys] for view, keys in wanted]

    def unread(self, size: int) -> dict[str, ViewRows]:
        """Return what stands for a read of `size` entities that did not happen."""
        return {
            view.view.name: ViewRows([[None] * size] * len(view.view.fields), [None] * size, ["not_read"] * size)
            for view in self._views
        }

    def unread_arrays(self, size: int) -> dict[str, ViewArrays]:
        """Return the same as arrays."""
        return {name: _as_arrays(rows) for name, rows in self.unread(size).items()}

    def close(self) -> None:
        """Close the store."""
        self._rows.close()


class _Prepared(NamedTuple):
    """A view with what reading it needs, worked out once."""

    view: View
    layout: Layout
    ttl_us: int
    key_set: int

    def decode(self, rows: Sequence[bytes | None], now_us: int, absent: Status) -> ViewRows:
        """Return the view's columns; `absent` is the status of rows that are not there."""
        whole = all(rows)
        with self._named():
            columns = self.layout.columns([row or self.layout.blank for row in rows])
        events, floor = columns.event_us, now_us - self.ttl_us
        if whole and rows and max(events) <= now_us and max(columns.created_us) <= now_us and min(events) >= floor:
            return ViewRows(columns.values, events, ["present"] * len(rows))
        return self._with_reasons(rows, columns, now_us, absent)

    def arrays(self, rows: Sequence[bytes | None], now_us: int, absent: Status) -> ViewArrays:
        """Return the same as arrays."""
        if len(rows) < _MANY:
            return _as_arrays(self.decode(rows, now_us, absent))
        with self._named():
            values, event_us, created_us = self.layout.arrays([row or self.layout.blank for row in rows])
        status = np.where(now_us - event_us > self.ttl_us, _CODES["outside_max_age"], _CODES["present"])
        status[np.maximum(event_us, created_us) > now_us] = _CODES["not_found"]
        status[[row is None for row in rows]] = _CODES[absent]
        gone = np.flatnonzero(status != _CODES["present"])
        for column in values if len(gone) else ():
            if isinstance(column, np.ndarray):
                column[gone] = np.nan
            else:
                for place in gone.tolist():
                    column[place] = None
        known = (status == _CODES["present"]) | (status == _CODES["outside_max_age"])
        return ViewArrays(values, np.where(known, event_us, NEVER), status.astype(np.uint8))

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise ValueError(
                f"online rows of view {self.view.name!r}: {error}; publish the view again and deploy the model again"
            ) from error

    def _with_reasons(self, rows: Sequence[bytes | None], columns: Columns, now_us: int, absent: Status) -> ViewRows:
        status: list[Status] = []
        for row, event_us, created_us in zip(rows, columns.event_us, columns.created_us, strict=True):
            if row is None:
                status.append(absent)
            elif max(event_us, created_us) > now_us:
                status.append("not_found")
            else:
                status.append("outside_max_age" if now_us - event_us > self.ttl_us else "present")
        values = [
            [value if state == "present" else None for value, state in zip(column, status, strict=True)]
            for column in columns.values
        ]
        known = ("present", "outside_max_age")
        events = [e if state in known else None for e, state in zip(columns.event_us, status, strict=True)]
        return ViewRows(values, events, status)


def _as_arrays(rows: ViewRows) -> ViewArrays:
    events = [NEVER if event is None else event for event in rows.event_us]
    return ViewArrays(rows.values, events, [_CODES[status] for status in rows.status])


def _distinct(keys: list[str | None]) -> list[str]:
    """Return the keys without nulls and repetitions; the same list if it has none."""
    distinct = dict.fromkeys(keys)
    if None in distinct:
        del distinct[None]
    return keys if len(distinct) == len(keys) else list(distinct)  # type: ignore[return-value,arg-type]
