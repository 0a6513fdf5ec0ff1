"""Reading online features: our lean reader, Feast's SDK on its own SQLite store and on ours, a bare SELECT.

One view (`aircraft_state`) of the state that `make demo` left, 1, 10 and 100 entities.
"""

import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from assets.resources import Platform, platform_for
from benchmarks.report import Timing, conclude, measure
from ml.online_publish import rebuild
from ml.online_rows import OnlineRows
from ml.packed import entity_key
from ml.settings import Settings
from serving.online_features import OnlineFeatures
from serving.plan import JoinKey, View

VIEW = "aircraft_state"
SIZES, CALLS = (1, 10, 100), 200
BAR = 6.0  # for one entity, against Feast's SDK on its own store


def main() -> None:
    """Measure and print. Raises LookupError if there is no published state."""
    platform = platform_for(Settings())
    keys = _keys(platform)
    ratios = {}
    print(f"{'reader':<34}" + "".join(f"{f'{n} entities':>22}" for n in SIZES) + "   (median / p99 ms)")
    with tempfile.TemporaryDirectory() as folder:
        readers = _readers(platform, Path(folder), keys)
        found = {name: [_timed(read, keys, size) for size in SIZES] for name, read in readers.items()}
    for name, timings in found.items():
        cells = "".join(f"{f'{t.median_ms:.3f} / {t.p99_ms:.3f}':>22}" for t in timings)
        print(f"{name:<34}{cells}")
    ours, peer = found["lean reader"], found["Feast SDK, Feast's SQLite store"]
    for size, mine, theirs in zip(SIZES, ours, peer, strict=True):
        ratios[size] = theirs.median_ms / mine.median_ms
    conclude("online_read", ratios[1], BAR, ratio_10=round(ratios[10], 2), ratio_100=round(ratios[100], 2))


def _keys(platform: Platform) -> list[str]:
    rows = platform.publications.read(VIEW).select("tailnum").unique().sort("tailnum").collect()
    return rows["tailnum"].to_list()


def _timed(read: Callable[[Sequence[str]], Any], keys: list[str], size: int) -> Timing:
    choose = random.Random(7)
    return measure(lambda: read(choose.sample(keys, size)), CALLS)


def _readers(platform: Platform, folder: Path, keys: list[str]) -> dict[str, Callable[[Sequence[str]], Any]]:
    """Return the readers, each over the same entities in a store of its own in `folder`."""
    (view,) = (v for v in platform.feature_views if v.name == VIEW)
    path = folder / "online.db"
    rebuild([view], platform.publications, OnlineRows(path), platform.clock.now())
    lean, connection = OnlineFeatures(path), sqlite3.connect(path)
    plan = View(VIEW, (JoinKey("tailnum", "string"),), view.ttl.total_seconds(), view.fields)
    references = [f"{VIEW}:{field.name}" for field in view.fields]
    own, theirs = _feast_on_ours(platform, path, folder), _feast_on_its_own(platform, folder)
    now = platform.clock.now()

    def select(names: Sequence[str]) -> Any:
        marks = ",".join("?" * len(names))
        wanted = [entity_key({"tailnum": name}) for name in names]
        query = f"SELECT key, row FROM online_rows WHERE view = ? AND key IN ({marks})"
        return connection.execute(query, (VIEW, *wanted)).fetchall()

    return {
        "bare SELECT of packed rows": select,
        "lean reader": lambda names: lean.read(plan, [{"tailnum": n} for n in names], now, time.perf_counter() + 10),
        "Feast SDK, our store": _sdk(own, references),
        "Feast SDK, Feast's SQLite store": _sdk(theirs, references),
    }


def _sdk(store: Any, references: list[str]) -> Callable[[Sequence[str]], Any]:
    return lambda names: store.get_online_features(references, [{"tailnum": n} for n in names]).to_dict()


def _feast_on_ours(platform: Platform, path: Path, folder: Path) -> Any:
    from ml.feature_store import open_feature_store, published_versions

    return open_feature_store(
        platform.feature_views,
        lake=platform.settings.lake,
        registry=folder / "ours" / "registry.db",
        online_store=path,
        clock_file=platform.settings.clock_file,
        versions=published_versions(platform.publications, platform.feature_views),
    )


def _feast_on_its_own(platform: Platform, folder: Path) -> Any:
    """Feast with the store it ships, filled through its own API with the newest row of each entity."""
    from feast import FeatureStore, RepoConfig

    store = _feast_on_ours(platform, folder / "unused.db", folder / "theirs")
    config = RepoConfig(
        **{
            **store.config.model_dump(exclude={"online_store"}, by_alias=True, exclude_none=True),
            "online_store": {"type": "sqlite", "path": str(folder / "feast.db")},
        }
    )
    peer = FeatureStore(config=config)
    peer.apply([*peer.list_entities(), *peer.list_feature_views()])
    rows = platform.publications.read(VIEW).sort("event_timestamp", "created_timestamp").collect()
    newest = rows.unique("tailnum", keep="last").drop("partition_key")
    peer.write_to_online_store(VIEW, newest.to_pandas())
    return peer
