"""Reads online feature rows for the router: all views and entities of a batch in one round trip.

Ttl counts against the given instant, and a deadline bounds the read. Writing the online store, and where it
is, are `ml`'s part. Runs in the serving environment.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, get_args

from ml.online_rows import open_online_rows
from ml.packed import Columns, Key, Layout, Value, encode_keys, layout_of
from serving.plan import View

Status = Literal["present", "not_found", "outside_max_age", "never_written", "not_read"]
STATUSES: tuple[Status, ...] = get_args(Status)  # the prediction log keeps their places
NOT_READ = STATUSES.index("not_read")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class ViewRows(NamedTuple):
    """One view's values, a column a field in the view's order, its rows' event times (microseconds, UTC), statuses.

    Each column has one entry an entity. A value is None where it is null at the source, and wherever the status
    is not `present`:

    - `not_found`: the view has no row of this entity, a join key is missing, or the row is from after now;
    - `outside_max_age`: its row is older than the view's ttl;
    - `never_written`: the view has no rows at all in the store;
    - `not_read`: the deadline passed, or the store was down.
    """

    values: Sequence[Sequence[Value]]
    event_us: Sequence[int | None]
    status: Sequence[Status]


class OnlineFeatures:
    """The online rows of `views` in the store at `address`. Opened again by itself after it was away."""

    def __init__(self, address: str, views: Sequence[View]) -> None:
        self._rows = open_online_rows(address, read_only=True)
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
        keys = [encode_keys([join_keys[name] for name in names]) for names in self._key_sets]
        asked = [_distinct(column) for column in keys]
        found = self._rows.fetch([(view.view.name, asked[view.key_set]) for view in self._views], deadline)
        if found is None:
            return self.unread(len(next(iter(join_keys.values()))))
        absent = [view.view.name for view, rows in zip(self._views, found, strict=True) if not any(rows)]
        written = self._rows.written(absent, deadline) if absent else None
        empty = set() if written is None else set(absent) - written
        now_us = (now - _EPOCH) // _MICROSECOND
        reads: dict[str, ViewRows] = {}
        for view, rows in zip(self._views, found, strict=True):
            if len(asked[view.key_set]) < len(keys[view.key_set]):
                by_key = dict(zip(asked[view.key_set], rows, strict=True))
                rows = [None if key is None else by_key[key] for key in keys[view.key_set]]
            reads[view.view.name] = view.decode(rows, now_us, "never_written" if view.view.name in empty else None)
        return reads

    def unread(self, size: int) -> dict[str, ViewRows]:
        """Return what stands for a read of `size` entities that did not happen."""
        return {
            view.view.name: ViewRows([[None] * size] * len(view.view.fields), [None] * size, ["not_read"] * size)
            for view in self._views
        }

    def close(self) -> None:
        """Close the store."""
        self._rows.close()


class _Prepared(NamedTuple):
    """A view with what reading it needs, worked out once."""

    view: View
    layout: Layout
    ttl_us: int
    key_set: int

    def decode(self, rows: Sequence[bytes | None], now_us: int, absent: Status | None) -> ViewRows:
        """Return the view's columns; `absent` is the status of rows that are not there, if not `not_found`."""
        whole = all(rows)
        try:
            columns = self.layout.columns(rows if whole else [row or self.layout.blank for row in rows])  # type: ignore[arg-type]
        except ValueError as error:
            raise ValueError(
                f"online rows of view {self.view.name!r}: {error}; publish the view again and deploy the model again"
            ) from error
        events, floor = columns.event_us, now_us - self.ttl_us
        if whole and rows and max(events) <= now_us and max(columns.created_us) <= now_us and min(events) >= floor:
            return ViewRows(columns.values, events, ["present"] * len(rows))
        return self._with_reasons(rows, columns, now_us, absent or "not_found")

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


def _distinct(keys: list[str | None]) -> list[str]:
    """Return the keys without nulls and repetitions; the same list if it has none."""
    distinct = dict.fromkeys(keys)
    if None in distinct:
        del distinct[None]
    return keys if len(distinct) == len(keys) else list(distinct)  # type: ignore[return-value,arg-type]
