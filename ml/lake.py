"""Delta tables by name, with versions: the contract between all stages. Knows nothing of gates.

A partitioned table has the string column `partition_key` (a month: "2013-01"); writing replaces the
partitions given, in one transaction. Each commit records which partitions it wrote, so the version
of a partition is the newest commit that wrote it. Delta's log is kept for ever: it is what tells.
Removing and compacting files is in `housekeeping`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, PostCommitHookProperties, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from ml.clock import audit_order
from ml.data_files import data_files, lost_files
from ml.delta_log import DeltaLog, commit_properties
from ml.snapshot import Snapshot
from ml.storage import storage_at
from ml.table_lock import table_lock, unwritable

PARTITION_KEY = "partition_key"
WHOLE = ""  # the partition name of an unpartitioned table in version maps and verdicts
ORDER = "order"  # the column that orders the rows of an audit table

# By default Delta drops commits older than 30 days at a checkpoint, and partition versions with them.
KEEP_LOG = PostCommitHookProperties(cleanup_expired_logs=False)
# Every so many commits the log is summed up: to open a table of 100 commits then takes 4 ms, where it took 22.
_NEW_TABLE = {"delta.checkpointInterval": "10", "delta.enableExpiredLogCleanup": "false"}


class Lake:
    """The tables under one folder, or under one s3://bucket/prefix."""

    def __init__(self, root: Path | str, locks: Path | None = None) -> None:
        """Name the place. `locks` is the folder of lock files for an object store, which cannot lock; see `lock`."""
        self.storage = storage_at(root, locks)
        self.root = self.storage.root
        self._snapshots: dict[str, Snapshot] = {}

    def path(self, table: str) -> str:
        """Return the location of `table`, such as raw/flights."""
        return self.storage.at(table)

    def exists(self, table: str) -> bool:
        """Whether `table` has been written. Raises OSError with the remedy if an object store cannot be reached."""
        self.storage.reach()
        return DeltaTable.is_deltatable(self.path(table))

    def replace(
        self,
        table: str,
        frame: pl.DataFrame,
        partitions: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> int:
        """Replace `partitions` of the table (or the whole table) by `frame`, atomically.

        Returns the new table version. Raises ValueError if `frame` holds rows of another partition.
        """
        if partitions is None:
            return self._write(table, frame, "overwrite", [WHOLE], metadata, None)
        strangers = sorted(set(frame[PARTITION_KEY].unique()) - set(partitions))
        if strangers:
            raise ValueError(
                f"{table}: rows of partition {strangers} in a write of {list(partitions)}; nothing written"
            )
        return self._write(table, frame, "overwrite", partitions, metadata, self._only(table, partitions))

    def replace_streamed(
        self, table: str, rows: pa.RecordBatchReader, partition: str, metadata: Mapping[str, Any] | None = None
    ) -> int:
        """Replace one partition by rows that do not fit in memory, atomically, and return the new table version.

        All `rows` are of that partition: they are read once, while they are written.
        """
        only = [partition]
        return self._write(table, rows, "overwrite", only, metadata, self._only(table, only))

    def append(self, table: str, frame: pl.DataFrame, metadata: Mapping[str, Any] | None = None) -> int:
        """Append rows to an unpartitioned table and return its new version."""
        return self._write(table, frame, "append", [WHOLE], metadata, None)

    def append_in_order(self, table: str, frame: pl.DataFrame) -> int:
        """Append rows, numbered in `ORDER` above all that are there, and return the table's new version.

        The numbers grow even where a machine's clock was set back, and whoever else appends meanwhile.
        """
        with self.lock(table):
            first = max(audit_order(), self._last_order(table) + 1)
            numbers = pl.int_range(first, first + frame.height, dtype=pl.Int64, eager=True)
            return self.append(table, frame.with_columns(numbers.alias(ORDER)), {ORDER: first + frame.height})

    def restore(self, table: str, version: int) -> int:
        """Make the rows of `version` the newest again, as a commit of its own, and return the new version.

        Raises LookupError if retention has removed that version.
        """
        self._refuse_lost(table, self.open(table, version), version)
        told, commit = commit_properties([], {"restored": version}, [])
        self.open(table).restore(version, commit_properties=told, post_commithook_properties=KEEP_LOG)
        return self._log(table).version_of(commit)

    @contextmanager
    def lock(self, table: str) -> Iterator[None]:
        """Hold the table's lock, waiting for another process that holds it. It ends with its process.

        Processes on several machines must see the same folder of locks. Raises OSError naming the lake if that folder
        cannot be written, LookupError if the lake is on an object store and was opened without one.
        """
        if self.storage.locks is None:
            raise LookupError(
                f"the lake {self.root} was opened to be read: to write {table!r}, give Lake a folder of locks"
            )
        with table_lock(self.storage.locks, table, self.path(table)):
            yield

    def read(self, table: str, version: int | None = None, partitions: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return the table as of `version` (default: newest), lazily, or only some of its partitions.

        Raises LookupError with the remedy if the table, the version or one of its files is missing or damaged.
        """
        opened = self.open(table, version)
        self._refuse_lost(table, opened, version)
        frame = pl.scan_delta(opened)
        if partitions is not None:
            frame = frame.filter(pl.col(PARTITION_KEY).is_in(list(partitions)))
        return frame

    def snapshot(self, table: str) -> pl.DataFrame:
        """Return all rows of a small unpartitioned table as of now; after a write only new files are read."""
        newest = self._log(table).newest()
        kept = self._snapshots.get(table)
        if kept is None or kept.version != newest:
            opened = self.open(table)
            self._refuse_lost(table, opened, None)
            folder = self.path(table)
            paths = [f"{folder}/{unquote(path)}" for path in data_files(opened)]
            kept = self._snapshots[table] = Snapshot(newest, paths, kept, self.storage.each)
        return kept.rows

    def read_pinned(self, table: str, versions: Mapping[str, int]) -> pl.LazyFrame:
        """Return each partition as of its own version: {"2013-01": 3, "2013-02": 5}; {"": 2} is the whole table."""
        if set(versions) == {WHOLE}:
            return self.read(table, versions[WHOLE])
        groups: dict[int, list[str]] = {}
        for partition, version in versions.items():
            groups.setdefault(version, []).append(partition)
        return pl.concat([self.read(table, v, names) for v, names in sorted(groups.items())], how="diagonal_relaxed")

    def open(self, table: str, version: int | None = None) -> DeltaTable:
        """Open the Delta table.

        Raises LookupError with the remedy if it is missing, damaged or lacks the version, OSError if an object store
        cannot be reached.
        """
        self.storage.reach()
        try:
            opened = DeltaTable(self.path(table), version=version)
        except TableNotFoundError as error:
            raise LookupError(f"no table {table!r} in the lake {self.root}; materialize it first") from error
        except (DeltaError, OSError) as error:
            self.storage.reach(again=True)
            raise LookupError(self._log(table).unreadable(error, version)) from error
        self._log(table).refuse_emptied(opened.version())
        return opened

    def version(self, table: str) -> int:
        """Return the newest version that changed rows. Raises LookupError if the table is missing."""
        for commit in self._log(table).commits():
            return commit["version"]
        raise LookupError(f"no table {table!r} in the lake {self.root}; materialize it first")

    def tables(self) -> list[str]:
        """Return the names of all tables, sorted."""
        return self.storage.tables()

    def lost(self, table: str, version: int | None = None) -> list[str]:
        """Return the data files of a version that are missing or cut short, as paths inside the table."""
        return lost_files(self.storage, table, self.open(table, version))

    def files_of(self, table: str, version: int) -> dict[str, list[str]]:
        """Return the data files of each partition in a version. Files never change: the same ones, the same rows."""
        added = pl.DataFrame(self.open(table, version).get_add_actions(flatten=True))
        key = f"partition.{PARTITION_KEY}"
        named = added.select(pl.col(key).fill_null(WHOLE) if key in added.columns else pl.lit(WHOLE).alias(key), "path")
        return {str(name): sorted(paths) for name, paths in named.group_by(key).agg("path").iter_rows()}

    def partition_versions(
        self, table: str, partitions: Iterable[str] | None = None, as_of: int | None = None
    ) -> dict[str, int]:
        """Return the version that last wrote each partition (of those asked for that exist), up to version `as_of`."""
        found: dict[str, int] = {}
        for commit in self.history(table):
            for partition in commit["partitions"] if as_of is None or commit["version"] <= as_of else ():
                found.setdefault(partition, commit["version"])
        if partitions is None:
            return found
        return {name: found[name] for name in partitions if name in found}

    def history(self, table: str) -> list[dict[str, Any]]:
        """Return the commits that changed rows, newest first.

        Each has version, timestamp (ms), the partitions and columns written, and the metadata given.
        """
        return list(self._log(table).commits())

    def metadata(self, table: str, version: int) -> dict[str, Any]:
        """Return what was recorded with the commit of `version`."""
        for commit in self.history(table):
            if commit["version"] == version:
                return commit["metadata"]
        raise LookupError(f"table {table!r} has no version {version}")

    def _only(self, table: str, partitions: Sequence[str]) -> str | None:
        """Return the predicate of a write that replaces these partitions; there is none for a table's first."""
        listed = ", ".join(f"'{name}'" for name in partitions)
        return f"{PARTITION_KEY} in ({listed})" if self.exists(table) else None

    def _write(
        self,
        table: str,
        frame: pl.DataFrame | pa.RecordBatchReader,
        mode: str,
        partitions: Sequence[str],
        metadata: Mapping[str, Any] | None,
        predicate: str | None,
    ) -> int:
        columns = frame.columns if isinstance(frame, pl.DataFrame) else frame.schema.names
        told, commit = commit_properties(partitions, metadata or {}, columns)
        options: dict[str, Any] = {"commit_properties": told, "post_commithook_properties": KEEP_LOG}
        # A new column is null in the rows that were there before it.
        options["schema_mode"] = "overwrite" if mode == "overwrite" and predicate is None else "merge"
        if not self.exists(table):
            options["configuration"] = _NEW_TABLE
        self.storage.refuse_lossy()
        if mode == "overwrite":
            options["predicate"] = predicate
            if list(partitions) != [WHOLE]:
                options["partition_by"] = [PARTITION_KEY]
        options = {name: value for name, value in options.items() if value}
        try:
            if isinstance(frame, pl.DataFrame):
                frame.write_delta(self.path(table), mode=mode, delta_write_options=options)  # type: ignore[call-overload]
            else:
                write_deltalake(self.path(table), frame, mode=mode, **options)  # type: ignore[call-overload]
        except (DeltaError, OSError) as error:
            self.storage.reach(again=True)
            raise OSError(getattr(error, "errno", None), unwritable(table, self.path(table), error)) from error
        return self._log(table).version_of(commit)

    def _log(self, table: str) -> DeltaLog:
        return DeltaLog(table, self.storage)

    def _last_order(self, table: str) -> int:
        newest = next(self._log(table).commits(), None)
        if newest is None or ORDER in newest["metadata"]:
            return newest["metadata"][ORDER] if newest else 0
        return self.read(table).select(pl.col(ORDER).max()).collect().item() or 0

    def _refuse_lost(self, table: str, opened: DeltaTable, version: int | None) -> None:
        lost = lost_files(self.storage, table, opened)
        if not lost:
            return
        at = opened.version() if version is None else version
        newest = [commit["version"] for commit in islice(self._log(table).commits(), 50)]
        whole = [v for v in newest if not self.lost(table, v)]
        raise LookupError(
            f"table {table!r} at version {at} lacks {len(lost)} of its data files, such as {lost[0]}: retention "
            f"removed them, or they are damaged; whole are the versions {whole[:10] or '(none)'}; read one of them, "
            f"restore {self.path(table)} from a copy, or materialize {table} again"
        )


def table_at(location: str) -> tuple[Lake, str]:
    """Return the table at a folder or s3:// address, as its name in a lake to read it from."""
    root, _, name = location.rstrip("/").rpartition("/")
    return Lake(root), name
