"""Rows for the declared views, made up, and the online stores that hold them: ours and Feast's own."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from assets.resources import Platform
from ml.feature_store import open_feature_store
from ml.feature_views import FeatureView
from ml.online_publish import packed_rows
from ml.online_push import push
from ml.online_rows import open_online_rows
from ml.packed import Kind

ENTITIES = 4_000
NULLS = 0.02
WRITES = 3  # of ours, the median counts; Feast's, which take long, once
_TYPES: dict[Kind, Any] = {"float": pl.Float64, "int": pl.Int64, "string": pl.String, "bool": pl.Boolean}


@dataclass(frozen=True)
class World:
    """The views that are online, their rows, the stores' addresses and a folder for files."""

    views: Sequence[FeatureView]
    frames: dict[str, pl.DataFrame]
    now: datetime
    folder: Path
    redis: str

    @property
    def sqlite_store(self) -> str:
        """Our store in a file."""
        return str(self.folder / "ours.db")

    @property
    def redis_store(self) -> str:
        """Our store in Redis."""
        return f"redis://{self.redis}/0"

    @property
    def plain_store(self) -> str:
        """The same packed rows under plain keys, for the bare MGET."""
        return f"redis://{self.redis}/1"

    @property
    def references(self) -> list[str]:
        """Every feature of every view."""
        return [f"{view.name}:{field.name}" for view in self.views for field in view.fields]

    def entities(self, numbers: Sequence[int]) -> dict[str, list[Any]]:
        """Return the join keys of all views, a column each, for these entities; all of them have rows."""
        kinds = {k: kind for v in self.views for k, kind in zip(v.join_keys, v.join_key_kinds, strict=True)}
        return {key: [_key(key, kind, n) for n in numbers] for key, kind in kinds.items()}

    @property
    def rows(self) -> int:
        """How many rows all views have together."""
        return sum(frame.height for frame in self.frames.values())


def make_world(platform: Platform, folder: Path, redis: str) -> World:
    """Make up the rows of every online view. Raises LookupError if dbt's manifest is missing."""
    views = [view for view in platform.feature_views if view.online]
    now = platform.clock.now().replace(microsecond=0)
    choose = random.Random(7)
    return World(views, {view.name: _frame(view, now, choose) for view in views}, now, folder, redis)


def write_speeds(world: World) -> dict[str, float]:
    """Fill all stores and return the rows a second of each way of writing."""
    import redis

    speeds = {}
    for kind, address in (("SQLite", world.sqlite_store), ("Redis", world.redis_store)):
        store = open_online_rows(address)
        events = {view.name: world.frames[view.name].to_dicts() for view in world.views}
        pushes, rebuilds = [], []
        for _ in range(WRITES):
            store.delete([view.name for view in world.views])
            started = time.perf_counter()
            for view in world.views:
                push(view, events[view.name], store, world.now)
            pushes.append(time.perf_counter() - started)
            started = time.perf_counter()
            for view in world.views:
                store.replace(view.name, packed_rows(view, world.frames[view.name]))
            rebuilds.append(time.perf_counter() - started)
        speeds[f"push, our {kind}"] = world.rows / median(pushes)
        speeds[f"rebuild, our {kind}"] = world.rows / median(rebuilds)
    plain = redis.Redis.from_url(world.plain_store)
    for view in world.views:
        plain.mset({f"{view.name}:{key}": row for key, row in packed_rows(view, world.frames[view.name])})
    return speeds


def feast_stores(world: World, platform: Platform, speeds: dict[str, float]) -> dict[str, Any]:
    """Return Feast over our two stores and over its own two, these filled through its API (timed into `speeds`)."""
    stores = {
        "Feast SDK, our SQLite": _ours(world, platform, world.sqlite_store),
        "Feast SDK, our Redis": _ours(world, platform, world.redis_store),
        "Feast SDK, Feast's SQLite": _its_own(world, platform, {"type": "sqlite", "path": str(world.folder / "f.db")}),
        "Feast SDK, Feast's Redis": _its_own(
            world, platform, {"type": "redis", "connection_string": f"{world.redis},db=2"}
        ),
    }
    frames = {view.name: world.frames[view.name].to_pandas() for view in world.views}
    for name, store in stores.items():
        started = time.perf_counter()
        for view in world.views:
            store.write_to_online_store(view.name, frames[view.name])
        speeds[f"write_to_online_store, {name.split(', ')[1]}"] = world.rows / (time.perf_counter() - started)
    return stores


def _ours(world: World, platform: Platform, address: str) -> Any:
    registry = world.folder / f"registry-{len(list(world.folder.glob('registry-*')))}" / "registry.db"
    return open_feature_store(
        world.views,
        lake=platform.settings.lake,
        registry=registry,
        online_store=address,
        clock_file=world.folder / "clock.json",
        versions={},
    )


def _its_own(world: World, platform: Platform, online_store: dict[str, str]) -> Any:
    from feast import FeatureStore, RepoConfig

    ours = _ours(world, platform, str(world.folder / "unused.db"))
    shared = ours.config.model_dump(exclude={"online_store"}, by_alias=True, exclude_none=True)
    store = FeatureStore(config=RepoConfig(**{**shared, "online_store": online_store}))
    store.apply([*store.list_entities(), *store.list_feature_views()])  # makes its tables
    return store


def _frame(view: FeatureView, now: datetime, choose: random.Random) -> pl.DataFrame:
    keys = zip(view.join_keys, view.join_key_kinds, strict=True)
    columns: dict[str, Any] = {name: [_key(name, kind, n) for n in range(ENTITIES)] for name, kind in keys}
    columns["event_timestamp"] = columns["created_timestamp"] = [
        now - timedelta(seconds=n % 60) for n in range(ENTITIES)
    ]
    columns |= {field.name: [_value(field.kind, choose) for _ in range(ENTITIES)] for field in view.fields}
    instants = {name: pl.Datetime("us", "UTC") for name in ("event_timestamp", "created_timestamp")}
    kinds = {name: _TYPES[kind] for name, kind in zip(view.join_keys, view.join_key_kinds, strict=True)}
    return pl.DataFrame(columns, schema={**kinds, **instants, **{f.name: _TYPES[f.kind] for f in view.fields}})


def _key(name: str, kind: Kind, number: int) -> Any:
    return number if kind == "int" else f"{name.upper()}{number:05d}"


def _value(kind: Kind, choose: random.Random) -> Any:
    if choose.random() < NULLS:
        return None
    makers = {
        "float": lambda: choose.uniform(-60, 300),
        "int": lambda: choose.randrange(1_000_000),
        "string": lambda: choose.choice(("MIA", "BOEING", "Turbo-fan", "Bangor")),
        "bool": lambda: choose.random() < 0.5,
    }
    return makers[kind]()
