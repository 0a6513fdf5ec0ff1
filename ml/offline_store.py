"""Feast's offline store on Delta and Parquet, joined by polars. What a row may know is decided in `ml.point_in_time`.

Named in Feast's configuration as `ml.offline_store.DeltaOfflineStore`. Knowledge time is always on; here
Feast's arguments become the join's. Which tables are read is in `ml.feature_tables`, results in `ml.retrieval`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import polars as pl
import pyarrow as pa
from feast.data_source import DataSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from ml.feature_tables import FeatureTables
from ml.history import CREATED, EVENT
from ml.point_in_time import Lookup, PointInTimeJoin, Progress, became_known, state_as_of
from ml.retrieval import PolarsRetrievalJob, aware, entity_frame, pulled

_BEGINNING = datetime(1, 1, 2, tzinfo=UTC)
_EVERYONE = pl.lit(0, pl.Int8).alias("__everyone")  # the key of a view without entities: one history for all rows


class DeltaOfflineStoreConfig(FeastConfigBaseModel):
    """Where the lake is, what to read of it, and how much memory a join may take for feature history.

    `versions` pins published tables to a version; `memory_budget_mb` bounds the feature history held at a
    time (None: a piece, such as a month, at a time); `read_pushed` lets training read rows that were written
    through Feast and that no check has seen: for trying things out, never set by Headwater itself.
    """

    type: Literal["ml.offline_store.DeltaOfflineStore"] = "ml.offline_store.DeltaOfflineStore"
    lake: str
    versions: dict[str, int] = {}
    memory_budget_mb: float | None = None
    read_pushed: bool = False

    @property
    def memory_budget(self) -> int | None:
        """The budget in bytes."""
        return None if self.memory_budget_mb is None else int(self.memory_budget_mb * 2**20)


class DeltaOfflineStore(OfflineStore):
    """Point-in-time retrieval from published Delta tables and from Parquet files."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        **options: Any,
    ) -> RetrievalJob:
        """Join features to the entity rows as they were known at each row's `event_timestamp`.

        `entity_df` is a pandas or polars frame, an Arrow table or a polars LazyFrame (which `PolarsRetrievalJob`
        can join and write in slices). Corrections known later than a row are never used, whether Feast's
        `filter_by_created_timestamp` is set or not. Raises NotImplementedError for SQL entity rows,
        retrieval without entity rows, and on-demand feature views; ValueError for naive or missing instants.
        """
        if OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry):
            raise NotImplementedError("on-demand feature views are not supported; build the feature in dbt")
        rows = entity_frame(entity_df)
        views = [(view, _features(view, feature_refs, full_feature_names)) for view in feature_views]

        def join(frame: pl.DataFrame, progress: Progress) -> pl.DataFrame:
            return _joined(config, views, frame, rows.at, progress)

        return PolarsRetrievalJob(rows, join, full_feature_names, feature_refs)

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

        columns = [*join_key_columns, *feature_name_columns]

        def pull() -> pl.DataFrame:
            rows = FeatureTables(config).read(data_source, columns, timestamp_field, created_timestamp_column)
            rows = state_as_of(rows, join_key_columns, aware(end_date))
            return _named(rows.filter(pl.col(EVENT) >= aware(start_date)), timestamp_field, created_timestamp_column)

        return pulled(pull)

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

        columns = [*join_key_columns, *feature_name_columns]

        def pull() -> pl.DataFrame:
            rows = FeatureTables(config).read(data_source, columns, timestamp_field, created_timestamp_column)
            if end_date is not None:
                rows = became_known(rows, _BEGINNING, aware(end_date))
            if start_date is not None:
                rows = rows.filter(pl.col(EVENT) >= aware(start_date))
            return _named(rows, timestamp_field, created_timestamp_column)

        return pulled(pull)

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Append rows to the view's table of pushed rows, in one transaction; published tables stay as they are.

        No check has seen such rows, so training reads them only where `read_pushed` is set. Raises ValueError,
        naming the column, if one is missing, of a wrong type, or an instant or key is null.
        """
        FeatureTables(config).push(feature_view, pl.DataFrame(table))
        if progress:
            progress(table.num_rows)


def _features(view: FeatureView, references: Sequence[str], full_names: bool) -> dict[str, str]:
    """Return the view's requested features, and the name that each gets in the result."""
    name = view.projection.name_to_use()
    wanted = [feature for owner, feature in (r.split(":") for r in references) if owner == name]
    return {feature: f"{name}__{feature}" if full_names else feature for feature in wanted}


def _joined(
    config: RepoConfig,
    views: Sequence[tuple[FeatureView, Mapping[str, str]]],
    entities: pl.DataFrame,
    at: str,
    progress: Progress,
) -> pl.DataFrame:
    tables = FeatureTables(config)
    name = ""
    budget = config.offline_store.memory_budget
    join = PointInTimeJoin(entities.with_columns(_EVERYONE), at, budget, lambda line: progress(f"{name}: {line}"))
    found = [entities]
    for view, features in views:
        name = view.projection.name_to_use()
        keys = {view.projection.join_key_map.get(key, key): key for key in view.join_keys if view.entity_columns}
        pieces = tables.pieces(view.batch_source, [*keys.values(), *features])
        if not keys:
            keys = {_EVERYONE.meta.output_name(): _EVERYONE.meta.output_name()}
            pieces = [piece._replace(frame=piece.frame.with_columns(_EVERYONE)) for piece in pieces]
        try:
            found.append(join.look_up(Lookup(pieces, keys, features, view.ttl)))
        except ValueError as error:
            raise ValueError(f"feature view {name!r}: {error}") from error
    return pl.concat(found, how="horizontal")


def _named(rows: pl.DataFrame, timestamp_field: str, created_timestamp_column: str | None) -> pl.DataFrame:
    names = {EVENT: timestamp_field, CREATED: created_timestamp_column or CREATED}
    return rows.rename({old: new for old, new in names.items() if old != new})
