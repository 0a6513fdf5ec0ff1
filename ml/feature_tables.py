"""The tables behind feature views, as Feast's configuration names them: published Delta tables and Parquet files.

Which version is read, what its columns are called, and rows pushed through Feast belong here; joins do not.
"""

from collections.abc import Mapping, Sequence

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from feast.data_format import DeltaFormat, ParquetFormat
from feast.data_source import DataSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.file_source import FileSource
from feast.repo_config import RepoConfig

from ml.delta_source import DeltaSource
from ml.history import CREATED, EVENT, Piece, delta_pieces
from ml.lake import PARTITION_KEY, Lake


class FeatureTables:
    """The tables of one Feast configuration."""

    def __init__(self, config: RepoConfig) -> None:
        self._store = config.offline_store
        self._repository = config.repo_path
        self._lake = Lake(config.offline_store.lake)

    def pieces(
        self, source: DataSource | None, columns: Sequence[str], event: str = "", created: str | None = None
    ) -> list[Piece]:
        """Return columns and both instants of a source, in pieces, newest events first.

        `event` and `created` name the columns of the instants where the source does not.

        Raises LookupError if it is not published or missing, NotImplementedError for a source of another kind.
        """
        if source is None:
            raise NotImplementedError("a feature view without a batch source has no history")
        names = _source_columns(source, columns, event, created)
        if isinstance(source, FileSource):
            return self._file_pieces(source, names)
        if not isinstance(source, DeltaSource):
            kind = f"{type(source).__module__}.{type(source).__name__}"
            raise NotImplementedError(f"data source {source.name!r} is a {kind}; use a DeltaSource or a FileSource")
        pieces = self._delta_pieces(self.published(source), source, names)
        pushed = f"pushed/{source.table}"
        if not (self._store.read_pushed and self._lake.exists(pushed)):
            return pieces
        extra = self._lake.read(pushed).select(expression.alias(name) for name, expression in names.items())
        return [Piece(pl.concat([*(piece.frame for piece in reversed(pieces)), extra]))]

    def read(self, source: DataSource, columns: Sequence[str], event: str, created: str | None) -> pl.DataFrame:
        """Return columns and both instants of a source; see `pieces`."""
        return pl.concat([piece.frame for piece in reversed(self.pieces(source, columns, event, created))]).collect()

    def published(self, source: DeltaSource) -> DeltaTable:
        """Return the configured version of a published table. Raises LookupError if none is."""
        version = self._store.versions.get(source.table)
        if version is None:
            raise LookupError(
                f"no version of {source.table!r} is published; materialize published/{source.table} first"
            )
        return self._lake.open(f"published/{source.table}", version)

    def push(self, view: FeatureView, rows: pl.DataFrame) -> None:
        """Append rows to the table of pushed rows of a view. Raises ValueError that names the column at fault."""
        source = view.batch_source
        if not isinstance(source, DeltaSource):
            raise NotImplementedError(
                f"feature view {view.name!r} is not on a published table; write its files yourself"
            )
        published = pl.scan_delta(self.published(source)).collect_schema()
        names = _source_columns(source, [c.name for c in [*view.entity_columns, *view.features]], "", None)
        wanted = {name: published[name] for name in {e.meta.root_names()[0]: None for e in names.values()}}
        missing = sorted(set(wanted) - set(rows.columns))
        if missing:
            raise ValueError(f"rows for feature view {view.name!r} have no column {missing}; it has {list(wanted)}")
        frame = rows.select(_cast(view.name, rows[name], dtype) for name, dtype in wanted.items())
        for name in (names[key].meta.root_names()[0] for key in (*view.join_keys, EVENT, CREATED)):
            if frame[name].null_count():
                raise ValueError(
                    f"rows for feature view {view.name!r} have {frame[name].null_count()} nulls in {name!r}"
                )
        self._lake.append(f"pushed/{source.table}", frame)

    def _delta_pieces(self, table: DeltaTable, source: DataSource, names: Mapping[str, pl.Expr]) -> list[Piece]:
        _refuse_missing(source, names, [field.name for field in table.schema().fields], table.table_uri)
        return delta_pieces(table, PARTITION_KEY, names)

    def _file_pieces(self, source: FileSource, names: Mapping[str, pl.Expr]) -> list[Piece]:
        path = FileSource.get_uri_for_file_path(self._repository, source.path)
        if not isinstance(source.file_format, ParquetFormat | DeltaFormat | None):
            raise NotImplementedError(f"data source {source.name!r} is {source.file_format}; use Parquet or Delta")
        try:
            if isinstance(source.file_format, DeltaFormat):
                return self._delta_pieces(DeltaTable(str(path)), source, names)
            frame = pl.scan_parquet(str(path))
            columns = frame.collect_schema().names()
        except (OSError, DeltaError, pl.exceptions.PolarsError) as error:
            raise LookupError(f"data source {source.name!r} cannot be read from {path}: {error}") from error
        _refuse_missing(source, names, columns, str(path))
        return [Piece(frame.select(expression.alias(name) for name, expression in names.items()))]


def _refuse_missing(source: DataSource, names: Mapping[str, pl.Expr], columns: Sequence[str], place: str) -> None:
    missing = sorted({expression.meta.root_names()[0] for expression in names.values()} - set(columns))
    if missing:
        raise LookupError(f"data source {source.name!r} has no column {missing}; {place} has {list(columns)}")


def _source_columns(source: DataSource, columns: Sequence[str], event: str, created: str | None) -> dict[str, pl.Expr]:
    """Return the source's column behind each name that the view and the join use."""
    inverse = {view: own for own, view in source.field_mapping.items()}
    event = source.timestamp_field or event
    times = {EVENT: event, CREATED: source.created_timestamp_column or created or event}
    # A mapping may also rename the instants; the source then names them as they are after it.
    return {name: pl.col(inverse.get(name, name)) for name in dict.fromkeys(columns)} | {
        name: pl.col(inverse.get(own, own)) for name, own in times.items()
    }


def _cast(view: str, column: pl.Series, dtype: pl.DataType) -> pl.Series:
    try:
        if isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is None and dtype != column.dtype:
            raise ValueError("it has no time zone")
        return column.cast(dtype)
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise ValueError(f"column {column.name!r} for feature view {view!r} must be {dtype}: {error}") from error
