"""The lean reader and the bare reads, timed in the serving environment, where the router lives.

Started by `online_read` with a JSON line (views, addresses, now); answers a JSON line for each it is sent.
"""

import json
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from ml.online_rows import open_online_rows
from ml.packed import Field, entity_keys
from serving.online_features import OnlineFeatures, ViewArrays
from serving.plan import JoinKey, View

Columns = dict[str, list[Any]]


def timed(prepare: Callable[[Columns], Callable[[], Any]], requests: Sequence[Columns]) -> list[float]:
    """Return the milliseconds of reading each request; what `prepare` does is not timed."""
    times = []
    for request in requests:
        read = prepare(request)
        started = time.perf_counter()
        read()
        times.append((time.perf_counter() - started) * 1000)
    return times


def readers(spec: dict[str, Any]) -> dict[str, Callable[[Columns], Callable[[], Any]]]:
    """Return what makes a read of a request, by reader. Bare reads get their keys made beforehand."""
    import redis

    views = [
        View(v["name"], tuple(JoinKey(*k) for k in v["keys"]), v["ttl"], tuple(Field(*f) for f in v["fields"]))
        for v in spec["views"]
    ]
    now = datetime.fromisoformat(spec["now"])
    plain = redis.Redis.from_url(spec["plain"])
    hashes = open_online_rows(spec["redis"], read_only=True)
    file = sqlite3.connect(spec["sqlite"], isolation_level=None)
    file.execute("PRAGMA cache_size = -65536")

    def keys(request: Columns) -> list[tuple[str, list[Any]]]:
        return [(v.name, entity_keys({k.name: request[k.name] for k in v.join_keys})) for v in views]

    def flat(request: Columns) -> list[str]:
        return [f"{view}:{key}" for view, column in keys(request) for key in column]

    def select(request: Columns) -> Callable[[], Any]:
        wanted = flat(request)
        query = f"SELECT key, row FROM packed_rows WHERE key IN ({','.join('?' * len(wanted))})"
        return lambda: file.execute(query, wanted).fetchall()

    def mget(request: Columns) -> Callable[[], Any]:
        wanted = flat(request)
        return lambda: plain.mget(wanted)

    def round_trip(request: Columns) -> Callable[[], Any]:
        wanted = keys(request)
        return lambda: hashes.fetch(wanted)

    def lean(address: str) -> Callable[[Columns], Callable[[], Any]]:
        features = OnlineFeatures(address, views)
        return lambda request: lambda: features.arrays(request, now, time.perf_counter() + 10)

    return {
        "bare SELECT, our SQLite": select,
        "lean reader, our SQLite": lean(spec["sqlite"]),
        "bare MGET, redis-py": mget,
        "bare round trip, our Redis": round_trip,
        "lean reader, our Redis": lean(spec["redis"]),
    }


def _plain(rows: ViewArrays) -> dict[str, Any]:
    """Return the values as JSON has them, null for NaN."""
    return {"values": [[None if value != value else value for value in column] for column in rows.values]}


def main() -> None:
    """Answer {"reader", "requests"} with times in milliseconds, {"reader", "values"} with what a lean reader reads."""
    known = readers(json.loads(sys.stdin.readline()))
    print(json.dumps(list(known)), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        prepare = known[asked["reader"]]
        if "values" in asked:
            answer: Any = {name: _plain(rows) for name, rows in prepare(asked["values"])().items()}
        else:
            answer = timed(prepare, asked["requests"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
