"""Feast's own Spark offline store on our published tables: the same views, past one machine.

Named in Feast's configuration as `ml.spark_store.SparkDeltaOfflineStore`. The join is Feast's; here published
versions become its sources, and what its join would lose (order, knowledge time, ties) is kept.
"""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

import polars as pl
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
    SparkOfflineStore,
    SparkOfflineStoreConfig,
    get_spark_session_or_start_new_with_repoconfig,
)
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import RepoConfig
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from ml.delta_source import DeltaSource
from ml.lake import Lake
from ml.point_in_time import INSTANT, Progress
from ml.retrieval import PolarsRetrievalJob, aware, entity_frame, pulled
from ml.spark_tables import encoded, one_version_each, read_version

_ROW = "__row"
_NO_ROW = -1
_BEGINNING, _END = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
# Feast's Spark store keeps its steps in temporary views of fixed names.
_VIEWS = threading.Lock()


class SparkDeltaOfflineStoreConfig(SparkOfflineStoreConfig):
    """Where the lake is, the version to read of each published table, and Spark's settings (`spark_conf`)."""

    type: Literal["ml.spark_store.SparkDeltaOfflineStore"] = "ml.spark_store.SparkDeltaOfflineStore"  # type: ignore[assignment]
    lake: str
    versions: dict[str, int] = {}


class SparkDeltaOfflineStore(SparkOfflineStore):
    """Feast's Spark store, reading published versions, knowledge time always on."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **kwargs: Any,
    ) -> RetrievalJob:
        """Return each entity row, in order, with the features known at its moment.

        `filter_by_created_timestamp` is always on. Raises NotImplementedError for SQL entity rows, date
        ranges and on-demand views, ValueError for entity rows that do not fit.
        """
        if kwargs:
            raise NotImplementedError("date ranges are not supported; give entity rows with their moments")
        if OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry):
            raise NotImplementedError("on-demand feature views are not supported; build the feature in dbt")
        given = entity_frame(entity_df)
        at = given.at

        def join(entities: pl.DataFrame, progress: Progress) -> pl.DataFrame:
            rows = _Rows(entities, at, feature_views)
            spark = _session(config)
            sources = [_with_spark_source(spark, config, view, rows) for view in feature_views]
            sent = rows.on(spark)
            with _VIEWS, _quiet():
                arguments = (sources, feature_refs, sent, registry, project, full_feature_names, True)
                job: Any = SparkOfflineStore.get_historical_features(config, *arguments)
                found = job.to_spark_df()
            return rows.with_features(_collected(found.drop(at, *rows.keys)))

        return PolarsRetrievalJob(given, join, full_feature_names, feature_refs)

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """Return each entity's state as known at `end_date`, if its event is not before `start_date`."""
        columns = (join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column)
        return _pull("pull_latest_from_table_or_query", config, data_source, *columns, start_date, end_date)

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Return all versions known at `end_date` of events from `start_date` on, as they became known."""
        columns = (join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column)
        return _pull("pull_all_from_table_or_query", config, data_source, *columns, start_date, end_date)

    @staticmethod
    def offline_write_batch(config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Any) -> None:
        """Refuse: Spark only reads what was published."""
        raise NotImplementedError("Spark does not write to the lake; write with HEADWATER_OFFLINE_STORE=polars")


class _Rows:
    """Entity rows on their way through Spark and back: only what the join needs travels."""

    def __init__(self, entities: pl.DataFrame, at: str, views: Sequence[FeatureView]) -> None:
        self.entities, self.at = entities, at
        keys = [view.projection.join_key_map.get(key, key) for view in views for key in view.join_keys]
        self.keys = list(dict.fromkeys(keys))
        missing = [column for column in (at, *self.keys) if column not in entities.columns]
        if missing:
            raise ValueError(f"the entity rows have no column {missing}; columns are {entities.columns}")
        if entities[at].null_count():
            raise ValueError(f"column {at!r} has {entities[at].null_count()} nulls; every row needs its instant")

    def on(self, spark: SparkSession) -> DataFrame:
        """Return [row number, moment, encoded keys] as a Spark frame. Feast's join needs at least one row."""
        sent = self.entities.select(pl.col(self.at).cast(INSTANT), *self.keys).with_row_index(_ROW)
        sent = sent.with_columns(pl.col(_ROW).cast(pl.Int64))
        if sent.is_empty():
            nobody = {_ROW: _NO_ROW, self.at: datetime(1970, 1, 1, tzinfo=UTC)}
            sent = pl.concat([sent, pl.DataFrame([nobody], schema_overrides={self.at: INSTANT})], how="diagonal")
        frame = spark.createDataFrame(sent.to_arrow())
        return frame.withColumns({key: encoded(key) for key in self.keys})

    def with_features(self, found: pl.DataFrame) -> pl.DataFrame:
        """Return the entity rows, as they came, with the features that Spark found for each."""
        found = found.filter(pl.col(_ROW) != _NO_ROW).sort(_ROW)
        if found[_ROW].to_list() != list(range(self.entities.height)):
            raise RuntimeError(f"Spark returned {found.height} rows for {self.entities.height} entity rows")
        features = found.drop(_ROW)
        doubled = sorted(set(features.columns) & set(self.entities.columns))
        if doubled:
            raise ValueError(f"the entity rows already have columns {doubled}; rename them or use full feature names")
        return self.entities.hstack(features)


def _with_spark_source(spark: SparkSession, config: RepoConfig, view: FeatureView, rows: _Rows) -> FeatureView:
    """Return the view with the published version as its source, keys encoded as those of the entity rows are."""
    source, history = _history(spark, config, view.batch_source)
    keys = {key: view.projection.join_key_map.get(key, key) for key in view.join_keys}
    types = _polars_types(history.select(*keys))
    for key, column in keys.items():
        if rows.entities.schema[column] not in (types[key], pl.Null):
            raise ValueError(
                f"feature view {view.projection.name_to_use()!r}: join key {column!r} is "
                f"{rows.entities.schema[column]} in the entity rows and {types[key]} in the feature history; cast it"
            )
    history = one_version_each(history, list(keys), [source.timestamp_field, source.created_timestamp_column])
    history = history.withColumns({key: encoded(key) for key in keys})
    changed = copy.copy(view)
    changed.batch_source = _spark_source(history, source, view.projection.name_to_use())
    return changed


def _history(spark: SparkSession, config: RepoConfig, source: DataSource | None) -> tuple[DeltaSource, DataFrame]:
    if not isinstance(source, DeltaSource) or source.field_mapping:
        raise NotImplementedError(
            f"data source {getattr(source, 'name', None)!r} is not a DeltaSource without field mapping"
        )
    versions: Mapping[str, int] = config.offline_store.versions
    if source.table not in versions:
        raise LookupError(f"no version of {source.table!r} is published; materialize published/{source.table} first")
    if "://" in config.offline_store.lake:
        raise NotImplementedError(
            f"Spark reads the files of a lake in a folder, and this one is {config.offline_store.lake}; "
            "join with HEADWATER_OFFLINE_STORE=polars"
        )
    table = Lake(config.offline_store.lake).open(f"published/{source.table}", versions[source.table])
    return source, read_version(spark, table)


def _spark_source(rows: DataFrame, source: DeltaSource, name: str) -> SparkSource:
    view = f"headwater_{name}"
    rows.createOrReplaceTempView(view)
    with _quiet():
        return SparkSource(
            name=source.name,
            table=view,
            timestamp_field=source.timestamp_field,
            created_timestamp_column=source.created_timestamp_column,
        )


def _pull(
    method: str,
    config: RepoConfig,
    data_source: DataSource,
    keys: list[str],
    features: list[str],
    event: str,
    created: str | None,
    start: datetime | None,
    end: datetime | None,
) -> RetrievalJob:
    """Run Feast's own pull on the rows known at `end`. Times are named as the source names them."""

    def evaluate() -> pl.DataFrame:
        source, rows = _history(_session(config), config, data_source)
        known = F.greatest(source.timestamp_field, source.created_timestamp_column)
        until = aware(end or _END)
        rows = one_version_each(rows, keys, [source.timestamp_field, source.created_timestamp_column])
        if method.startswith("pull_latest"):
            rows = rows.dropna(subset=keys)
        with _VIEWS, _quiet():
            source_rows = _spark_source(rows.where(known <= F.lit(until)), source, f"pulled_{source.table}")
            arguments = (keys, features, event, created, aware(start or _BEGINNING), until)
            job: Any = getattr(SparkOfflineStore, method)(config, source_rows, *arguments)
            found = job.to_spark_df()
        order = [pl.col(event), pl.col(created)] if created else [pl.col(event)]
        return _collected(found).sort(pl.max_horizontal(order), *order)

    return pulled(evaluate)


def _session(config: RepoConfig) -> SparkSession:
    spark = get_spark_session_or_start_new_with_repoconfig(config.offline_store)
    # Somebody's own session may live in another zone; Feast's SQL has instants without one.
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    return spark


def _collected(rows: DataFrame) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(rows.toArrow()))


def _polars_types(rows: DataFrame) -> pl.Schema:
    return _collected(rows.limit(0)).schema


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Feast's notes that its Spark store is new: it was chosen, and is compared."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield
