"""What a source is, and the readers: CSV, Parquet (a path or an object-store URL) and SQL.

The instances are in `ml/sources`; landing them in the lake is `ml/landing.py`.
"""

import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Protocol

import polars as pl

from ml.months import Months

KnownAt = Callable[[pl.DataFrame], pl.Series]


class Reader(Protocol):
    """Reads a source's rows as they are, with the declared types."""

    def read(self, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """Return all rows. Raises LookupError if the source is not there, ValueError if it does not fit."""
        ...

    @property
    def origin(self) -> str:
        """Where the rows are read from, for people: no password."""
        ...


@dataclass(frozen=True)
class CsvReader:
    """A CSV file, also compressed (.gz), or the only member of a .zip. Empty fields and what `nulls` names are null.

    With `package`, the file is one that this installed Python package ships: `path` is that from site-packages on, and
    the package is not imported.
    """

    path: str | Path
    package: str | None = None
    nulls: tuple[str, ...] = ("NA",)

    def read(self, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """Return the file's rows. Columns the declaration does not know are kept as strings."""
        path = self._found()
        if not path.exists():
            remedy = f"install the package {self.package!r}, restore it" if self.package else "restore it"
            raise LookupError(f"source file {path} is missing; {remedy} or correct its declaration")
        try:
            state = path.stat()
            return _parsed(path, state.st_mtime_ns, state.st_size, tuple(schema.items()), self.nulls)
        except (pl.exceptions.PolarsError, zipfile.BadZipFile, OSError) as error:
            raise ValueError(f"source file {path} does not fit its declaration: {_first_line(error)}") from error

    @property
    def origin(self) -> str:
        """The file."""
        return str(self._found())

    def _found(self) -> Path:
        if self.package is not None:
            with suppress(PackageNotFoundError):
                return Path(str(distribution(self.package).locate_file(str(self.path))))
        return Path(self.path)


@dataclass(frozen=True)
class ParquetReader:
    """One or more Parquet files: a path, a glob, or an object-store URL such as s3://bucket/table/*.parquet."""

    location: str
    storage_options: Mapping[str, str] = field(default_factory=dict)

    def read(self, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """Return the files' rows."""
        try:
            return pl.scan_parquet(self.location, storage_options=dict(self.storage_options) or None).collect()
        except FileNotFoundError as error:
            raise LookupError(f"source {self.location} is missing; restore it or correct its declaration") from error
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ValueError(f"source {self.location} cannot be read: {_first_line(error)}") from error

    @property
    def origin(self) -> str:
        """The files, or where they are in an object store."""
        return self.location


@dataclass(frozen=True)
class SqlReader:
    """A query on a database that SQLAlchemy reaches. `url` is a function, so that no secret is read at import."""

    url: Callable[[], str]
    query: str

    def read(self, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        """Return the query's rows."""
        from sqlalchemy import create_engine
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with create_engine(self.url()).connect() as connection:
                return pl.read_database(self.query, connection, schema_overrides=dict(schema))
        except SQLAlchemyError as error:
            raise LookupError(f"query {self.query!r} failed: {_first_line(error)}") from error

    @property
    def origin(self) -> str:
        """The query."""
        return f"query {self.query}"


@dataclass(frozen=True)
class KnownEarlier:
    """Columns of a row that are known before the whole row is, such as a departure before its arrival.

    `known_at` gives, per row, the UTC instant at which `columns` became known, null if never before the row.
    The key is known with them. It holds for originals: what a correction says is known when it comes.
    """

    columns: tuple[str, ...]
    known_at: KnownAt


@dataclass(frozen=True)
class Source:
    """One declared source; it becomes the table raw/<name>.

    `columns` maps each column to its type and description. `key` names a fact uniquely. `known_at`
    is a rule that gives, per row, the UTC instant at which the row became known. `partition` is an
    expression that gives the month ("2013-01") a row belongs to, None for a table that lands whole. `months` are those
    that it has, and with it the feature tables made from it: a partition each.
    `created_column` names the source's own column with the instant of a correction, if it has one. `fresh_within` is
    how long the source may be silent before its newest month counts as late, None if that means nothing.
    `history_months` is the number of good months (of 1,000 rows or more) from which on the table's own past blocks a
    month that is unlike it; with fewer it says so only. `known_earlier` are parts of a row that staging may use before
    `known_at`; all else waits for it.
    """

    name: str
    description: str
    owner: str
    reader: Reader
    columns: Mapping[str, tuple[pl.DataType, str]]
    key: tuple[str, ...]
    known_at: KnownAt
    partition: pl.Expr | None = None
    months: Months | None = None
    created_column: str | None = None
    fresh_within: timedelta | None = None
    known_earlier: tuple[KnownEarlier, ...] = ()
    history_months: int = 6

    def __post_init__(self) -> None:
        if self.partition is not None and self.months is None:
            raise ValueError(
                f"source {self.name!r} lands by month and does not say which months it has; give it "
                'months=Months("2013-01", "2013-12"), or Months("2013-01") if it goes on (ml.months)'
            )

    @property
    def table(self) -> str:
        """The lake's name of the landed table."""
        return f"raw/{self.name}"

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """Column types by name."""
        return {name: dtype for name, (dtype, _) in self.columns.items()}

    def read(self) -> pl.DataFrame:
        """Read the rows with exactly the declared columns, verbatim.

        Raises ValueError that names missing, surplus and mistyped columns.
        """
        frame = self.reader.read(self.schema)
        missing = sorted(set(self.schema) - set(frame.columns))
        surplus = sorted(set(frame.columns) - set(self.schema))
        mistyped = [
            f"{name} is {frame.schema[name]}, declared {dtype}"
            for name, dtype in self.schema.items()
            if name in frame.columns and frame.schema[name] != dtype
        ]
        if missing or surplus or mistyped:
            raise ValueError(
                f"source {self.name!r} does not fit its declaration: missing {missing}, surplus {surplus}, "
                f"mistyped {mistyped}; correct the source, or the declaration if the change is meant"
            )
        return frame.select(list(self.schema))


@lru_cache(maxsize=1)  # a year lands month by month from one file
def _parsed(
    path: Path, changed: int, size: int, schema: tuple[tuple[str, pl.DataType], ...], nulls: tuple[str, ...]
) -> pl.DataFrame:
    content = _unzipped(path) if path.suffix == ".zip" else path
    return pl.read_csv(content, schema_overrides=dict(schema), null_values=[*nulls, ""], infer_schema=False)


def _unzipped(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(names) != 1:
            raise ValueError(f"{path} holds {names}; expected one CSV file")
        return archive.read(names[0])


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
