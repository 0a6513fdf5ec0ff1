"""The online store's interface: the newest packed row of each entity of each view. Knows bytes, not features.

Two stores keep it: `ml.online_sqlite` (a file) and `ml.online_redis`. An address says which. Writers are few
(batch rebuild, event push, Feast), readers many; a reader sees a view before or after a write, never between.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from ml.secret_address import shown


class OnlineRow(NamedTuple):
    """One entity's key (`ml.packed.entity_key`) and packed row."""

    key: str
    row: bytes


class OnlineStoreError(LookupError):
    """The online store is missing, down or damaged. The message names it and the remedy."""


class ViewSummary(NamedTuple):
    """How many entities a view has online, and its newest event (microseconds, UTC), None if it has none."""

    rows: int
    newest_event_us: int | None


class OnlineRows(Protocol):
    """One online store. All methods raise OnlineStoreError if it cannot be used; a later call tries again.

    A row never overwrites one of the same entity with a later (event, created); of versions equal in both,
    the one written last stays.
    """

    def upsert(self, view: str, rows: Iterable[OnlineRow]) -> int:
        """Write rows in their order, in one transaction, and return how many changed something."""
        ...

    def replace(self, view: str, rows: Iterable[OnlineRow]) -> int:
        """Make `rows` all there is of `view`, in one transaction, and return how many entities it has."""
        ...

    def fetch(
        self, wanted: Sequence[tuple[str, Sequence[str]]], deadline: float | None = None
    ) -> list[list[bytes | None]] | None:
        """Return the rows of each (view, keys) in order, None for a key without one, in one round trip.

        `deadline` is an instant of `time.perf_counter`; None is returned if it passes before all are read.
        """
        ...

    def written(self, views: Sequence[str], deadline: float | None = None) -> set[str] | None:
        """Return those of `views` that have any row; None if the deadline passes first."""
        ...

    def summary(self, view: str) -> ViewSummary:
        """Return how much there is of `view`, by looking at all of its rows."""
        ...

    def delete(self, views: Iterable[str]) -> None:
        """Remove all rows of `views`."""
        ...

    def close(self) -> None:
        """Close this thread's connection; a later call opens it again."""
        ...


def open_online_rows(address: str | Path, read_only: bool = False) -> OnlineRows:
    """Return the store at `address`: redis://host:port/db (rediss://, unix://) or the path of a SQLite file.

    Nothing is connected to yet. A SQLite file is made by its first writer and never by a reader.
    """
    if str(address).startswith(("redis://", "rediss://", "unix://")):
        from ml.online_redis import RedisRows

        return RedisRows(str(address))
    if "://" in str(address):
        raise ValueError(
            f"online store {shown(str(address))} is neither redis://host:port/db nor the path of a SQLite file"
        )
    from ml.online_sqlite import SqliteRows

    return SqliteRows(Path(address), read_only)


def read(rows: OnlineRows, view: str, keys: Sequence[str]) -> list[bytes | None]:
    """Return the row of each key of one view in order, None where there is none; without a deadline."""
    (found,) = rows.fetch([(view, keys)]) or [[]]
    return found
