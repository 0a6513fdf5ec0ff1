"""Dagster's event log in SQLite, its files kept open while a run goes on in this process.

Dagster opens a log's file for every event, waits for the disk several times and closes it again. What is in the log
is Dagster's; it stays readable by others at any moment.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import Connection, Engine, create_engine, event


@contextmanager
def kept_open(instance: dg.DagsterInstance) -> Iterator[None]:
    """Keep the files of an instance's event log open until the end; of any other storage, do nothing.

    A process that dies loses nothing. A power failure may take the last events of the run with it, and no more.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage) or "_connect" in vars(storage):
        yield
        return
    engines: dict[str, Engine] = {}

    @contextmanager
    def connect(shard: str) -> Iterator[Connection]:
        with storage._db_lock:
            if shard not in engines:
                engines[shard] = _engine(storage, shard)
            with engines[shard].begin() as connection:
                yield connection
            os.utime(storage.path_for_shard(shard))  # who watches the file looks only then into what is beside it

    vars(storage)["_connect"] = connect
    try:
        yield
    finally:
        del vars(storage)["_connect"]
        for engine in engines.values():
            engine.dispose()


def _engine(storage: SqliteEventLogStorage, shard: str) -> Engine:
    engine = create_engine(storage.conn_string_for_shard(shard), connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
    event.listen(engine, "connect", _write_ahead)
    storage._initdb(engine)
    return engine


def _write_ahead(connection: Any, record: object) -> None:
    """With a write-ahead log, which Dagster sets up, this is safe but for the last commits before a power failure."""
    connection.execute("PRAGMA synchronous = NORMAL")
