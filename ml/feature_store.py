"""Feast, configured for this lake and filled from dbt's feature views. The one place that makes its objects.

Feast is imported inside functions: it takes seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from ml.feast_import import import_feast
from ml.feature_views import FeatureView
from ml.publication import Publications

if TYPE_CHECKING:
    import feast

PROJECT = "headwater"
_FINGERPRINT = "headwater.fingerprint"
_MAPPING = 2  # raised when the same view becomes other Feast objects, so that old registries are brought up to date


def open_feature_store(
    views: Sequence[FeatureView],
    *,
    lake: Path | str,
    registry: Path,
    online_store: str | Path,
    clock_file: Path,
    versions: Mapping[str, int],
    spark: Mapping[str, str] | None = None,
    memory_mb: float | None = None,
) -> feast.FeatureStore:
    """Return Feast's store over `views`, its registry brought up to date (left alone if it is).

    Args:
        views: Feature views, from `ml.feature_views.load_feature_views`.
        lake: Root of the lake whose published tables are read.
        registry: Feast's registry file; made if missing.
        online_store: Address of the online store (`ml.online_rows`): a SQLite file or redis://host:port/db.
        clock_file: Where the replayed instant stands, if time is replayed; ttl counts from there online.
        versions: Version to read of each published table, such as `published_versions` returns.
        spark: Spark's settings (`ml.spark_session`), if Feast's Spark store joins and not polars in this process.
        memory_mb: Feature history that a join in this process holds at a time, in MiB; None: a month of a view.
    """
    import_feast()
    from feast import FeatureStore, RepoConfig

    registry.parent.mkdir(parents=True, exist_ok=True)
    config = RepoConfig(
        project=PROJECT,
        provider="local",
        registry={"registry_type": "file", "path": str(registry)},
        offline_store=_offline_store(lake, versions, spark, memory_mb),
        online_store={
            "type": "ml.online_store.PackedOnlineStore",
            "address": str(online_store),
            "clock_file": str(clock_file),
        },
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    _apply(store, views)
    return store


def published_versions(publications: Publications, views: Sequence[FeatureView]) -> dict[str, int]:
    """Return the published version of each view's table; views of which nothing is published are left out."""
    found = {view.name: publications.current(view.name) for view in views}
    return {name: publication.version for name, publication in found.items() if publication is not None}


def historical_features(
    store: feast.FeatureStore, entity_rows: pl.DataFrame, references: Sequence[str]
) -> pl.DataFrame:
    """Return `entity_rows` and a column view__feature a reference, as known at each row's `event_timestamp`.

    Every row is kept, once, in its order. Raises what Feast raises for references it does not know.
    """
    # Feast hands a frame that is not pandas to our offline store as it is: no copies, no types lost.
    frame: Any = entity_rows
    job: Any = store.get_historical_features(
        entity_df=frame,
        features=list(references),
        full_feature_names=True,
        filter_by_created_timestamp=True,
    )
    return job.to_polars().select(*entity_rows.columns, *[r.replace(":", "__") for r in references])


def _offline_store(
    lake: Path | str, versions: Mapping[str, int], spark: Mapping[str, str] | None, memory_mb: float | None
) -> dict[str, Any]:
    """Return Feast's configuration of the engine that joins. Views, sources and registry are the same for both."""
    tables = {"lake": str(lake), "versions": dict(versions)}
    if spark is None:
        return {"type": "ml.offline_store.DeltaOfflineStore", "memory_budget_mb": memory_mb, **tables}
    return {"type": "ml.spark_store.SparkDeltaOfflineStore", "spark_conf": dict(spark), **tables}


def _apply(store: feast.FeatureStore, views: Sequence[FeatureView]) -> None:
    wanted = {view.name: hashlib.sha256(f"{_MAPPING}:{view!r}".encode()).hexdigest() for view in views}
    present = {view.name: view for view in store.list_feature_views()}
    if wanted == {name: view.tags.get(_FINGERPRINT) for name, view in present.items()}:
        return
    entities = _entities(views)
    feast_views = [_feast_view(view, [entities[name] for name in view.entities], wanted[view.name]) for view in views]
    gone: list[Any] = [view for name, view in present.items() if name not in wanted]
    store.apply([*entities.values(), *feast_views], objects_to_delete=gone, partial=False)
    store.refresh_registry()


def _entities(views: Sequence[FeatureView]) -> dict[str, feast.Entity]:
    from feast import Entity, ValueType

    kinds = {"string": ValueType.STRING, "int": ValueType.INT64}
    keys: dict[str, tuple[str, str]] = {}
    for view in views:
        for entity, *key in zip(view.entities, view.join_keys, view.join_key_kinds, strict=True):
            if keys.setdefault(entity, (key[0], key[1])) != tuple(key):
                raise ValueError(
                    f"entity {entity!r} has join key {keys[entity]} and in feature view {view.name!r} {tuple(key)}; "
                    "give it one"
                )
    return {name: Entity(name=name, join_keys=[key], value_type=kinds[kind]) for name, (key, kind) in keys.items()}


def _feast_view(view: FeatureView, entities: Sequence[feast.Entity], fingerprint: str) -> feast.FeatureView:
    from feast import FeatureView as FeastView
    from feast import Field, PushSource
    from feast.types import Bool, Float64, Int64, String

    from ml.delta_source import DeltaSource

    types = {"float": Float64, "int": Int64, "string": String, "bool": Bool}
    columns = [*zip(view.join_keys, view.join_key_kinds, strict=True), *view.fields]
    published = DeltaSource(
        name=f"published_{view.name}",
        table=view.name,
        timestamp_field="event_timestamp",
        created_timestamp_column="created_timestamp",
    )
    return FeastView(
        name=view.name,
        entities=list(entities),
        ttl=view.ttl,
        schema=[Field(name=name, dtype=types[kind]) for name, kind in columns],
        source=PushSource(name=f"{view.name}_events", batch_source=published),
        online=view.online,
        description=view.description,
        owner=view.owner,
        tags={_FINGERPRINT: fingerprint},
    )
