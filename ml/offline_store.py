"""Feast's offline store on published Delta tables, joined by polars. Reads; the lake is written elsewhere.

Named in Feast's configuration as `ml.offline_store.DeltaOfflineStore`. What a training row may know is
decided in `ml.point_in_time`, always by knowledge time; here Feast's arguments become its arguments.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import polars as pl
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from ml.delta_source import DeltaSource
from ml.lake import Lake
from ml.point_in_time import CREATED, EVENT, became_known, point_in_time_join, state_as_of

_BEGINNING = datetime(1, 1, 2, tzinfo=UTC)


class DeltaOfflineStoreConfig(FeastConfigBaseModel):
    """Where the lake is, and the version to read of each published table."""

    type: Literal["ml.offline_store.DeltaOfflineStore"] = "ml.offline_store.DeltaOfflineStore"
    lake: str
    versions: dict[str, int] = {}


class PolarsRetrievalJob(RetrievalJob):
    """A retrieval that runs when its result is asked for."""

    def __init__(
        self,
        evaluate: Callable[[], pl.DataFrame],
        full_feature_names: bool,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._evaluate = evaluate
        self._full_feature_names = full_feature_names
        self._metadata = metadata

    def to_polars(self) -> pl.DataFrame:
        """Return the result as a polars frame."""
        return self._evaluate()

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._evaluate().to_arrow()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._evaluate().to_pandas()

    @property
    def full_feature_names(self) -> bool:
        """Whether features are named view__feature."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """None: they are refused."""
        return []

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """Features and keys of a historical retrieval."""
        return self._metadata


class DeltaOfflineStore(OfflineStore):
    """Point-in-time retrieval from published Delta tables."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | pl.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **options: Any,
    ) -> RetrievalJob:
        """Join features to the entity rows as they were known at each row's `event_timestamp`.

        `entity_df` is a pandas or polars frame. Corrections known later than a row are never used, whether
        Feast's `filter_by_created_timestamp` is set or not. Raises NotImplementedError for SQL entity rows,
        retrieval without entity rows, and on-demand feature views.
        """
        if not isinstance(entity_df, (pd.DataFrame, pl.DataFrame)):
            raise NotImplementedError(
                "give entity rows as a pandas or polars frame; SQL and date ranges are not supported"
            )
        if OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry):
            raise NotImplementedError("on-demand feature views are not supported; build the feature in dbt")
        entities = entity_df if isinstance(entity_df, pl.DataFrame) else pl.from_pandas(entity_df)
        at = _moment_column(entities)

        def evaluate() -> pl.DataFrame:
            frame = entities
            for view in feature_views:
                frame = _join_view(config, view, feature_refs, frame, at, full_feature_names)
            return frame

        metadata = RetrievalMetadata(features=feature_refs, keys=[c for c in entities.columns if c != at])
        return PolarsRetrievalJob(evaluate, full_feature_names, metadata)

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

        def evaluate() -> pl.DataFrame:
            rows = _read(config, data_source, [*join_key_columns, *feature_name_columns])
            rows = state_as_of(rows, join_key_columns, _aware(end_date))
            return _named(rows.filter(pl.col(EVENT) >= _aware(start_date)), timestamp_field, created_timestamp_column)

        return PolarsRetrievalJob(evaluate, full_feature_names=False)

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

        def evaluate() -> pl.DataFrame:
            rows = _read(config, data_source, [*join_key_columns, *feature_name_columns])
            if end_date is not None:
                rows = became_known(rows, _BEGINNING, _aware(end_date))
            if start_date is not None:
                rows = rows.filter(pl.col(EVENT) >= _aware(start_date))
            return _named(rows, timestamp_field, created_timestamp_column)

        return PolarsRetrievalJob(evaluate, full_feature_names=False)


def _join_view(
    config: RepoConfig,
    view: FeatureView,
    refs: Sequence[str],
    entities: pl.DataFrame,
    at: str,
    full_names: bool,
) -> pl.DataFrame:
    name = view.projection.name_to_use()
    features = {f: f"{name}__{f}" if full_names else f for ref, f in (r.split(":") for r in refs) if ref == name}
    keys = {view.projection.join_key_map.get(key, key): key for key in view.join_keys}
    history = _read(config, view.batch_source, [*keys.values(), *features])
    try:
        return point_in_time_join(entities, history, at=at, keys=keys, features=features, ttl=view.ttl)
    except ValueError as error:
        raise ValueError(f"feature view {name!r}: {error}") from error


def _read(config: RepoConfig, source: DataSource | None, columns: Sequence[str]) -> pl.DataFrame:
    """Return columns and both instants, under our names, of the configured version of a published table."""
    if not isinstance(source, DeltaSource) or source.field_mapping:
        raise NotImplementedError(
            f"data source {getattr(source, 'name', None)!r} is not a DeltaSource without field mapping"
        )
    versions: Mapping[str, int] = config.offline_store.versions
    if source.table not in versions:
        raise LookupError(f"no version of {source.table!r} is published; materialize published/{source.table} first")
    table = Lake(Path(config.offline_store.lake)).read(f"published/{source.table}", versions[source.table])
    times = [
        pl.col(source.timestamp_field).alias(EVENT),
        pl.col(source.created_timestamp_column).alias(CREATED),
    ]
    return table.select(*dict.fromkeys(columns), *times).collect()


def _named(rows: pl.DataFrame, timestamp_field: str, created_timestamp_column: str | None) -> pl.DataFrame:
    names = {EVENT: timestamp_field, CREATED: created_timestamp_column or CREATED}
    return rows.rename({old: new for old, new in names.items() if old != new})


def _moment_column(entities: pl.DataFrame) -> str:
    instants = [name for name, dtype in entities.schema.items() if isinstance(dtype, pl.Datetime)]
    if EVENT in instants or len(instants) == 1:
        return EVENT if EVENT in instants else instants[0]
    raise ValueError(f"entity rows need one instant column, best named {EVENT!r}; they have {instants}")


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
