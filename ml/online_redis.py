"""The online store in Redis: a hash a view, a field an entity. Imported only where the store's address is a Redis.

What an online store promises is written in `ml.online_rows`. A read is one pipeline of HMGET; a write is a
script inside MULTI, so that event-time rules hold with many writers; a view is replaced by RENAME.
"""

import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import hiredis
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ml.online_rows import OnlineRow, OnlineStoreError, ViewSummary
from ml.packed import row_times
from ml.secret_address import scrubbed, shown

PREFIX = "headwater:online:"

# Instants are exact in Lua's doubles up to the year 2255.
_UPSERT = """
local changed = 0
for i = 1, #ARGV, 2 do
  local old, new = redis.call('HGET', KEYS[1], ARGV[i]), ARGV[i + 1]
  local take = not old
  if old and old ~= new then
    local old_event, old_created = struct.unpack('<i8i8', old, 9)
    local event, created = struct.unpack('<i8i8', new, 9)
    take = event > old_event or (event == old_event and created >= old_created)
  end
  if take then
    redis.call('HSET', KEYS[1], ARGV[i], new)
    changed = changed + 1
  end
end
return changed
"""
_ROWS_A_SCRIPT = 2_000
_ABANDONED_S = 3600  # a half-written replacement disappears by then
_WRITE_TIMEOUT_S = 30.0
_READ_TIMEOUT_S = 5.0  # without a deadline


class RedisRows:
    """The online store in the Redis at `address` (redis://host:port/db). May be shared by threads."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._named = _Named(address)
        self._local = threading.local()
        self._writer: redis.Redis | None = None

    def upsert(self, view: str, rows: Iterable[OnlineRow]) -> int:
        """Write rows in their order, in one transaction, and return how many changed something."""
        with self._named:
            pipeline = self._client().pipeline(transaction=True)
            scripts = self._queue(pipeline, PREFIX + view, rows)
            return sum(pipeline.execute()[:scripts]) if scripts else 0

    def replace(self, view: str, rows: Iterable[OnlineRow]) -> int:
        """Make `rows` all there is of `view`, in one step for readers, and return how many entities it has."""
        live, staged = PREFIX + view, f"{PREFIX}{view}:{uuid.uuid4().hex}"
        with self._named:
            pipeline = self._client().pipeline(transaction=False)
            if not self._queue(pipeline, staged, rows):
                self._client().unlink(live)
                return 0
            pipeline.expire(staged, _ABANDONED_S)
            pipeline.execute()
            pipeline = self._client().pipeline(transaction=True)
            pipeline.persist(staged)
            pipeline.rename(staged, live)
            pipeline.hlen(live)
            return pipeline.execute()[-1]

    def fetch(
        self, wanted: Sequence[tuple[str, Sequence[str]]], deadline: float | None = None
    ) -> list[list[bytes | None]] | None:
        """Return the rows of each (view, keys) in order, None for a key without one, in one round trip."""
        asked = [(PREFIX + view, keys) for view, keys in wanted if keys]
        if not asked:
            return [[] for _ in wanted]
        with self._named:
            found = self._ask([("HMGET", name, *keys) for name, keys in asked], deadline)
        if found is None:
            return None
        replies = iter(found)
        return [next(replies) if keys else [] for _, keys in wanted]

    def written(self, views: Sequence[str], deadline: float | None = None) -> set[str] | None:
        """Return those of `views` that have any row; None if the deadline passes first."""
        with self._named:
            found = self._ask([("EXISTS", PREFIX + view) for view in views], deadline)
        if found is None:
            return None
        return {view for view, exists in zip(views, found, strict=True) if exists}

    def summary(self, view: str) -> ViewSummary:
        """Return how much there is of `view`, by looking at all of its rows."""
        with self._named:
            rows = self._client().hscan_iter(PREFIX + view, count=5_000)
            newest = max((row_times(row)[0] for _, row in rows), default=None)
            return ViewSummary(self._client().hlen(PREFIX + view), newest)

    def delete(self, views: Iterable[str]) -> None:
        """Remove all rows of `views`."""
        names = [PREFIX + view for view in views]
        if names:
            with self._named:
                self._client().unlink(*names)

    def close(self) -> None:
        """Close this thread's connection."""
        if connection := getattr(self._local, "connection", None):
            connection.disconnect()
            self._local.connection = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _queue(self, pipeline: Any, name: str, rows: Iterable[OnlineRow]) -> int:
        """Queue the script for all rows and return how many times it runs."""
        flat = [part for row in rows for part in row]
        size = 2 * _ROWS_A_SCRIPT
        for start in range(0, len(flat), size):
            pipeline.eval(_UPSERT, 1, name, *flat[start : start + size])
        return -(-len(flat) // size)

    def _ask(self, commands: list[tuple[str, ...]], deadline: float | None) -> list[Any] | None:
        """Send commands at once and return their replies; None if the deadline passes first.

        The connection is used below redis-py's pipeline, whose own work costs more than the round trip.
        """
        until = time.perf_counter() + _READ_TIMEOUT_S if deadline is None else deadline
        connection = self._connection(until)
        fresh = not connection.is_connected
        try:
            try:
                return _round_trip(connection, commands, until)
            except redis.ConnectionError:
                if fresh:
                    raise
            # The server was restarted since the last call: once more, on a new connection.
            return _round_trip(self._connection(until), commands, until)
        except redis.TimeoutError:
            if deadline is None:
                raise
            return None

    def _connection(self, until: float) -> Any:
        connection: Any = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._client().connection_pool.make_connection()
            self._local.connection = connection
        left = max(until - time.perf_counter(), 0.001)
        if not connection.is_connected:
            connection.socket_connect_timeout = connection.socket_timeout = left
        return connection

    def _client(self) -> redis.Redis:
        if self._writer is None:
            self._writer = redis.Redis.from_url(
                self._address,
                socket_timeout=_WRITE_TIMEOUT_S,
                socket_connect_timeout=_READ_TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
            )
        return self._writer


class _Named:
    """Says which store an error came from, and what to do; passwords stay out."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        where, said = shown(self._address), scrubbed(str(error), self._address)
        if isinstance(error, redis.AuthenticationError):  # it is a ConnectionError, too
            raise OnlineStoreError(
                f"online store {where} takes no such login: {said}; correct user and password in HEADWATER_ONLINE_STORE"
            ) from error
        if isinstance(error, (redis.ConnectionError, redis.TimeoutError)):
            raise OnlineStoreError(
                f"online store {where} cannot be reached: {said}; start Redis there or set HEADWATER_ONLINE_STORE"
            ) from error
        if isinstance(error, redis.RedisError):
            raise OnlineStoreError(
                f"online store {where} refuses: {said}; set that Redis in order, then publish the features again"
            ) from error


def _round_trip(connection: Any, commands: list[tuple[str, ...]], until: float) -> list[Any]:
    pack: Any = hiredis.pack_command
    if time.perf_counter() > until:
        raise redis.TimeoutError("the deadline has passed")
    try:
        connection.send_packed_command([b"".join([pack(command) for command in commands])], check_health=False)
        replies = [connection.read_response(timeout=max(until - time.perf_counter(), 0.000_1)) for _ in commands]
    except BaseException:
        connection.disconnect()  # replies that were not read must not answer the next question
        raise
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies
