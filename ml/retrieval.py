"""Results of Feast retrievals, as polars makes them: whole, or in slices where entity rows are lazy."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.saved_dataset import SavedDatasetStorage

from ml.history import EVENT
from ml.point_in_time import Progress

ROWS_A_SLICE = 1_000_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EntityFrame:
    """Entity rows, in memory or lazy, and the column with their moment; no frame at all for a pull."""

    frame: pl.DataFrame | pl.LazyFrame | None
    at: str

    @property
    def names(self) -> list[str]:
        """The columns."""
        return [] if self.frame is None else self.frame.collect_schema().names()

    def extent(self) -> tuple[datetime | None, datetime | None]:
        """Return the first and the last moment, None if there are no rows."""
        if self.frame is None:
            return None, None
        moment = pl.col(self.at)
        return self.frame.lazy().select(moment.min(), moment.max().alias("last")).collect().row(0)

    def whole(self) -> pl.DataFrame:
        """Return all rows."""
        frame = pl.DataFrame() if self.frame is None else self.frame
        return frame.collect() if isinstance(frame, pl.LazyFrame) else frame

    def slices(self, rows: int) -> Iterator[pl.DataFrame]:
        """Yield the rows in their order, `rows` at a time; one empty slice if there are none."""
        frame = pl.DataFrame() if self.frame is None else self.frame
        start = 0
        while True:
            part = frame.lazy().slice(start, rows).collect()
            if part.height or not start:
                yield part
            if part.height < rows:
                return
            start += rows


def entity_frame(rows: Any) -> EntityFrame:
    """Return Feast's `entity_df` as polars. Raises NotImplementedError for SQL or none, ValueError without instants."""
    if isinstance(rows, pd.DataFrame):
        rows = pl.from_pandas(rows)
    elif isinstance(rows, pa.Table):
        rows = pl.DataFrame(rows)
    if not isinstance(rows, pl.DataFrame | pl.LazyFrame):
        raise NotImplementedError(
            "give entity rows as a pandas or polars frame or an Arrow table; SQL and date ranges are not supported"
        )
    return EntityFrame(rows, _moment_column(rows.collect_schema()))


class PolarsRetrievalJob(RetrievalJob):
    """A retrieval that runs when its result is asked for."""

    def __init__(
        self,
        rows: EntityFrame,
        evaluate: Callable[[pl.DataFrame, Progress], pl.DataFrame],
        full_feature_names: bool,
        features: Sequence[str] = (),
    ) -> None:
        self._rows = rows
        self._evaluate = evaluate
        self._full_feature_names = full_feature_names
        self._features = list(features)

    def to_polars(self, progress: Progress = _log.info) -> pl.DataFrame:
        """Return the result as a polars frame; `progress` hears a line after each piece of history."""
        return self._evaluate(self._rows.whole(), progress)

    def to_parquet(self, folder: Path, rows: int = ROWS_A_SLICE, progress: Progress = _log.info) -> list[Path]:
        """Join `rows` entity rows at a time and write each slice to a Parquet file of `folder`; return the files.

        Memory holds one slice and one piece of history, however many entity rows a LazyFrame has. The files'
        names are in the order of the rows. Raises FileExistsError if the folder has Parquet files.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.glob("*.parquet")):
            raise FileExistsError(f"{folder} has Parquet files; give an empty folder")
        files = []
        for number, part in enumerate(self._rows.slices(rows)):
            path = folder / f"part-{number:05d}.parquet"
            unfinished = path.with_suffix(".unfinished")
            self._evaluate(part, progress).write_parquet(unfinished)
            files.append(unfinished.rename(path))
            progress(f"{number * rows + part.height:,} entity rows joined and written to {path.name}")
        return files

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        """Write the result to one Parquet file. Raises SavedDatasetLocationAlreadyExists unless it may be replaced."""
        if not isinstance(storage, SavedDatasetFileStorage):
            raise NotImplementedError(
                f"{type(storage).__name__} is not supported; use SavedDatasetFileStorage (Parquet)"
            )
        path = Path(storage.file_options.uri)
        if path.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.unfinished")
        self.to_polars().write_parquet(unfinished)
        unfinished.rename(path)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self.to_polars().to_arrow(compat_level=pl.CompatLevel.oldest())

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self.to_polars().to_pandas()

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
        """Features, keys and moments of a historical retrieval; None for a pull."""
        if not self._features:
            return None
        keys = [name for name in self._rows.names if name != self._rows.at]
        return RetrievalMetadata(self._features, keys, *self._rows.extent())


def pulled(pull: Callable[[], pl.DataFrame]) -> PolarsRetrievalJob:
    """Return a retrieval without entity rows."""
    return PolarsRetrievalJob(EntityFrame(None, ""), lambda _, __: pull(), full_feature_names=False)


def aware(moment: datetime) -> datetime:
    """Return a bound that Feast gives, in UTC if it has no time zone, as Feast means it."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _moment_column(schema: pl.Schema) -> str:
    instants = {name: dtype.time_zone for name, dtype in schema.items() if isinstance(dtype, pl.Datetime)}
    if EVENT not in instants and len(instants) != 1:
        raise ValueError(f"entity rows need one instant column, best named {EVENT!r}; they have {list(instants)}")
    at = EVENT if EVENT in instants else next(iter(instants))
    if instants[at] is None:
        raise ValueError(
            f"column {at!r} of the entity rows has no time zone; say which, such as "
            f"pl.col({at!r}).dt.replace_time_zone('UTC')"
        )
    return at
