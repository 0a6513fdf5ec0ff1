"""The engines that `pit_join` compares: each joins three views to the entity rows of a data folder.

Run as a process of its own, `python -m benchmarks._pit_engines ENGINE FOLDER RESULT REPEATS`, so that processor time
and peak memory are the engine's. Imports and the reading of entity rows are not counted, reading history is.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks._pit_data import FEATURES, TTL_DAYS, VIEWS

TTL = timedelta(days=TTL_DAYS)
NAMES = [f"{view}__{feature}" for view in VIEWS for feature in FEATURES]
REFERENCES = [name.replace("__", ":") for name in NAMES]
EVENT, CREATED = "event_timestamp", "created_timestamp"


def ours_kept(folder: Path) -> Callable[[], Any]:
    """Ours, through Feast's API, on published tables."""
    from ml.delta_source import DeltaSource
    from ml.lake import Lake

    lake = Lake(folder / "lake")
    versions = {view: lake.version(f"published/{view}") for view in VIEWS}
    sources = [DeltaSource(name=v, table=v, timestamp_field=EVENT, created_timestamp_column=CREATED) for v in VIEWS]
    return _ours(folder, sources, versions)


def ours_raw(folder: Path) -> Callable[[], Any]:
    """Ours, through Feast's API, on raw Parquet in any order."""
    return _ours(folder, _file_sources(folder), {})


def _ours(folder: Path, sources: list[Any], versions: dict[str, int]) -> Callable[[], Any]:
    kind = "ml.offline_store.DeltaOfflineStore"
    store = _feast(folder, {"type": kind, "lake": str(folder / "lake"), "versions": versions}, sources)
    rows = pl.read_parquet(folder / "entities.parquet")
    return lambda: _historical(store, rows).to_polars()


def feast_duckdb(folder: Path) -> Callable[[], Any]:
    """Feast's duckdb store on raw Parquet."""
    store = _feast(folder, {"type": "duckdb"}, _file_sources(folder))
    rows = pl.read_parquet(folder / "entities.parquet").to_pandas()
    return lambda: _historical(store, rows).to_arrow()


def feast_file(folder: Path) -> Callable[[], Any]:
    """Feast's file store (dask) on raw Parquet; it has no knowledge time."""
    store = _feast(folder, {"type": "dask"}, _file_sources(folder))
    rows = pl.read_parquet(folder / "entities.parquet").to_pandas()
    return lambda: store.get_historical_features(rows, REFERENCES, full_feature_names=True).to_arrow()


def duckdb_asof(folder: Path) -> Callable[[], Any]:
    """DuckDB's plain ASOF JOIN on knowledge time, raw Parquet."""
    import duckdb

    columns, joins = [], []
    for n, view in enumerate(VIEWS):
        fresh = f"e.event_timestamp - v{n}.event_timestamp <= interval {TTL_DAYS} days"
        columns += [f"case when {fresh} then v{n}.{f} end as {view}__{f}" for f in FEATURES]
        known = "*, greatest(event_timestamp, created_timestamp) as known"
        table = f"(select {known} from read_parquet('{folder / view}.parquet')) v{n}"
        joins.append(f"asof left join {table} on e.key = v{n}.key and e.event_timestamp >= v{n}.known")
    query = f"select e.*, {', '.join(columns)} from e {' '.join(joins)} order by e.row"
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    connection.register("e", pl.read_parquet(folder / "entities.parquet").with_row_index("row").to_arrow())
    return lambda: connection.sql(query).to_arrow_table().drop_columns(["row"])


def pandas_asof(folder: Path) -> Callable[[], Any]:
    """pandas' merge_asof on knowledge time, right side sorted by (known, event, created), raw Parquet."""
    import pandas as pd

    rows = pl.read_parquet(folder / "entities.parquet").to_pandas()

    def join() -> Any:
        found = rows.reset_index().sort_values(EVENT)
        for view in VIEWS:
            right = pd.read_parquet(folder / f"{view}.parquet")
            right["known"] = right[[EVENT, CREATED]].max(axis=1)
            right = right.sort_values(["known", EVENT, CREATED]).rename(columns={EVENT: "seen"}).drop(columns=CREATED)
            right = right.rename(columns={f: f"{view}__{f}" for f in FEATURES})
            found = pd.merge_asof(found, right, left_on=EVENT, right_on="known", by="key")
            names = [f"{view}__{f}" for f in FEATURES]
            found.loc[found[EVENT] - found["seen"] > TTL, names] = None
            found = found.drop(columns=["known", "seen"])
        return pl.from_pandas(found.sort_values("index").drop(columns="index"))

    return join


def polars_asof(folder: Path) -> Callable[[], Any]:
    """polars' bare join_asof on knowledge time, right side sorted by (known, event, created), raw Parquet."""
    rows = pl.read_parquet(folder / "entities.parquet")

    def join() -> Any:
        found = rows.with_row_index("row").sort(EVENT)
        for view in VIEWS:
            right = pl.read_parquet(folder / f"{view}.parquet").with_columns(known=pl.max_horizontal(EVENT, CREATED))
            right = right.sort("known", EVENT, CREATED).rename({EVENT: "seen"} | {f: f"{view}__{f}" for f in FEATURES})
            found = found.join_asof(
                right.drop(CREATED), left_on=EVENT, right_on="known", by="key", check_sortedness=False
            )
            fresh = pl.col(EVENT) - pl.col("seen") <= TTL
            found = found.with_columns(
                pl.when(fresh).then(pl.col(f"{view}__{f}")).alias(f"{view}__{f}") for f in FEATURES
            )
            found = found.drop("seen", "known", strict=False)
        return found.sort("row").drop("row")

    return join


def read_kept(folder: Path) -> Callable[[], Any]:
    """Just reading the published tables' columns."""
    from ml.lake import Lake

    lake, columns = Lake(folder / "lake"), ["key", EVENT, CREATED, *FEATURES]
    return lambda: [lake.read(f"published/{view}").select(columns).collect() for view in VIEWS]


ENGINES = {
    e.__name__: e
    for e in (ours_kept, ours_raw, feast_duckdb, feast_file, duckdb_asof, pandas_asof, polars_asof, read_kept)
}


def _file_sources(folder: Path) -> list[Any]:
    from feast import FileSource

    path = {view: str(folder / f"{view}.parquet") for view in VIEWS}
    return [FileSource(name=v, path=path[v], timestamp_field=EVENT, created_timestamp_column=CREATED) for v in VIEWS]


def _feast(folder: Path, offline_store: dict[str, Any], sources: list[Any]) -> Any:
    from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig, ValueType
    from feast.types import Float64, String

    registry = folder / f"registry-{offline_store['type']}-{type(sources[0]).__name__}.db"
    config = RepoConfig(
        project="pit_join",
        provider="local",
        registry=str(registry),
        offline_store=offline_store,
        online_store={"type": "sqlite", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    entity = Entity(name="entity", join_keys=["key"], value_type=ValueType.STRING)
    fields = [Field(name="key", dtype=String), *(Field(name=f, dtype=Float64) for f in FEATURES)]
    views = [FeatureView(name=s.name, entities=[entity], ttl=TTL, schema=fields, source=s) for s in sources]
    store.apply([entity, *views])
    return store


def _historical(store: Any, rows: Any) -> Any:
    return store.get_historical_features(rows, REFERENCES, full_feature_names=True, filter_by_created_timestamp=True)


def main(engine: str, folder: str, result: str, repeats: str) -> None:
    """Run one engine and print one JSON line: seconds, processor seconds of each call, peak memory, rows."""
    join = ENGINES[engine](Path(folder))
    wall, cpu = [], []
    for _ in range(int(repeats)):
        before, started = _processor_seconds(), time.perf_counter()
        found = join()
        wall.append(time.perf_counter() - started)
        cpu.append(_processor_seconds() - before)
    peak = _peak_memory()
    if engine != "read_kept":
        frame = found if isinstance(found, pl.DataFrame) else pl.DataFrame(found)
        frame.select("key", pl.col(EVENT).cast(pl.Datetime("us", "UTC")), *NAMES).write_parquet(result)
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": peak}))


def _peak_memory() -> float:
    """Return this program's peak in MiB; ru_maxrss would begin with that of the process that started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # DuckDB's and ibis' teardown writes pages of leaks that are nobody's
