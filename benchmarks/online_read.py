"""Reading and writing online features: the lean reader on SQLite and Redis, Feast's SDK on its stores and ours.

All views that are online, 1, 10 and 100 entities, on rows made up for the declared views: every key is there and
no two entities share one, so that every reader has the most to do. The lean reader and the bare reads run in the
serving environment, as the router does; Feast in the platform's. Calls are interleaved in rounds.
"""

import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from assets.resources import platform_for
from benchmarks._line_process import LineProcess
from benchmarks._online_worker import timed
from benchmarks._online_world import ENTITIES, World, feast_stores, make_world, write_speeds
from benchmarks._redis import own_redis
from benchmarks.report import conclude
from ml.settings import Settings

SIZES, ROUNDS, CALLS = (1, 10, 100), 20, 15
BAR, BAR_100, BAR_BARE, BAR_WRITE = 6.0, 50.0, 1.5, 10.0

Times = dict[tuple[str, int], list[float]]
Read = Callable[[list[dict[str, list[Any]]]], list[float]]


def main() -> None:
    """Measure and print. Raises LookupError if dbt's manifest, redis-server or the serving environment is missing."""
    settings = Settings()
    platform = platform_for(settings)
    if not settings.serving_python.exists():
        raise LookupError(f"no serving environment at {settings.serving_python}; run make setup")
    with tempfile.TemporaryDirectory() as folder, own_redis() as redis:
        world = make_world(platform, Path(folder), redis)
        print(f"{len(world.views)} views, {len(world.references)} features, {ENTITIES} entities a view")
        speeds = write_speeds(world)
        stores = feast_stores(world, platform, speeds)
        with _Worker(settings.serving_python, world) as worker:
            _compare(world, worker, stores)
            times = _measure(world, {**worker.readers(), **{name: _sdk(s, world) for name, s in stores.items()}})
    _print_reads(times)
    for name, speed in speeds.items():
        print(f"{name:<44}{speed:>12,.0f} rows/s")
    _conclude(times, speeds)


class _Worker(LineProcess):
    """The process in the serving environment."""

    def __init__(self, python: Path, world: World) -> None:
        super().__init__("benchmarks._online_worker", python)
        views = [
            {
                "name": view.name,
                "keys": list(zip(view.join_keys, view.join_key_kinds, strict=True)),
                "ttl": view.ttl.total_seconds(),
                "fields": view.fields,
            }
            for view in world.views
        ]
        stores = {"sqlite": world.sqlite_store, "redis": world.redis_store, "plain": world.plain_store}
        self._names: list[str] = self.ask({"views": views, "now": world.now.isoformat(), **stores})

    def readers(self) -> dict[str, Read]:
        """Return each reader over there, by name."""
        return {name: lambda r, name=name: self.ask({"reader": name, "requests": r}) for name in self._names}  # type: ignore[misc]


def _sdk(store: Any, world: World) -> Read:
    def prepare(request: dict[str, list[Any]]) -> Callable[[], Any]:
        return lambda: _read_sdk(store, world, request)

    return lambda requests: timed(prepare, requests)


def _read_sdk(store: Any, world: World, request: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return store.get_online_features(world.references, request, full_feature_names=True).to_dict()


def _compare(world: World, worker: _Worker, stores: dict[str, Any]) -> None:
    """See that all readers read the same. Raises ValueError naming reader and feature where they do not."""
    request = world.entities(range(50))
    wanted = {
        f"{view.name}__{field.name}": world.frames[view.name][field.name][:50].to_list()
        for view in world.views
        for field in view.fields
    }
    found = {name: _read_sdk(store, world, request) for name, store in stores.items()}
    for name in worker.readers():
        if name.startswith("lean"):
            read = worker.ask({"reader": name, "values": request})
            found[name] = {
                f"{view.name}__{field.name}": read[view.name]["values"][place]
                for view in world.views
                for place, field in enumerate(view.fields)
            }
    for name, columns in found.items():
        wrong = [feature for feature, values in wanted.items() if columns[feature] != values]
        if wrong:
            raise ValueError(f"{name} reads other values of {wrong}; its times would mean nothing")


def _measure(world: World, readers: dict[str, Read]) -> Times:
    choose = random.Random(11)
    times: Times = {(name, size): [] for name in readers for size in SIZES}
    for turn in range(ROUNDS + 1):
        for size in SIZES:
            requests = [world.entities(choose.sample(range(ENTITIES), size)) for _ in range(CALLS)]
            for name, read in readers.items():
                found = read(requests)
                if turn:  # the first round warms up
                    times[name, size] += found
    return times


def _print_reads(times: Times) -> None:
    print(f"\n{'reader':<30}" + "".join(f"{f'{n} entities':>20}" for n in SIZES) + "   (p50 / p99 ms)")
    for name in dict.fromkeys(name for name, _ in times):
        cells = [f"{median(times[name, n]):.3f} / {quantiles(times[name, n], n=100)[98]:.3f}" for n in SIZES]
        print(f"{name:<30}" + "".join(f"{cell:>20}" for cell in cells))
    print()


def _conclude(times: Times, speeds: dict[str, float]) -> None:
    def over(slow: str, fast: str, sizes: Sequence[int]) -> list[float]:
        return [round(median(times[slow, n]) / median(times[fast, n]), 2) for n in sizes]

    against_feast = over("Feast SDK, Feast's Redis", "lean reader, our Redis", SIZES)
    bare_redis = over("lean reader, our Redis", "bare MGET, redis-py", SIZES)
    bare_sqlite = over("lean reader, our SQLite", "bare SELECT, our SQLite", SIZES)
    writes = {
        f"{way}_{kind.lower()}": round(
            speeds[f"{way}, our {kind}"] / speeds[f"write_to_online_store, Feast's {kind}"], 1
        )
        for kind in ("SQLite", "Redis")
        for way in ("push", "rebuild")
    }
    holds = {
        "feast_1": against_feast[0] >= BAR,
        "feast_100": against_feast[2] >= BAR_100,
        "bare_redis": max(bare_redis) <= BAR_BARE,
        "bare_sqlite": max(bare_sqlite) <= BAR_BARE,
        "writes": min(writes.values()) >= BAR_WRITE,
    }
    conclude(
        "online_read",
        against_feast[0],
        BAR,
        holds=all(holds.values()),
        bars=holds,
        ratio_10=against_feast[1],
        ratio_100=against_feast[2],
        feast_sqlite=over("Feast SDK, Feast's SQLite", "lean reader, our SQLite", SIZES),
        bare_redis=bare_redis,
        bare_round_trip=over("lean reader, our Redis", "bare round trip, our Redis", SIZES),
        bare_sqlite=bare_sqlite,
        writes=writes,
    )


if __name__ == "__main__":
    main()
