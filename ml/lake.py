"""Delta tables by name, with versions: the contract between all stages. Knows nothing of gates.

A partitioned table has the string column `partition_key` (a month: "2013-01"); writing replaces the
partitions given, in one transaction. Each commit records which partitions it wrote, so the version
of a partition is the newest commit that wrote it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

PARTITION_KEY = "partition_key"
WHOLE = ""  # the partition name of an unpartitioned table in version maps and verdicts

_PARTITIONS = "headwater.partitions"
_METADATA = "headwater.metadata"


class Lake:
    """The tables under one root folder or object-store prefix."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, table: str) -> str:
        """Return the location of `table`, such as raw/flights."""
        return str(self.root / table)

    def exists(self, table: str) -> bool:
        """Whether `table` has been written."""
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
        listed = ", ".join(f"'{name}'" for name in partitions)
        predicate = f"{PARTITION_KEY} in ({listed})" if self.exists(table) else None
        return self._write(table, frame, "overwrite", partitions, metadata, predicate)

    def append(self, table: str, frame: pl.DataFrame, metadata: Mapping[str, Any] | None = None) -> int:
        """Append rows to an unpartitioned table and return its new version."""
        return self._write(table, frame, "append", [WHOLE], metadata, None)

    def read(self, table: str, version: int | None = None, partitions: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return the table as of `version` (default: newest), lazily, or only some of its partitions."""
        frame = pl.scan_delta(self.open(table, version))
        if partitions is not None:
            frame = frame.filter(pl.col(PARTITION_KEY).is_in(list(partitions)))
        return frame

    def read_pinned(self, table: str, versions: Mapping[str, int]) -> pl.LazyFrame:
        """Return each partition as of its own version: {"2013-01": 3, "2013-02": 5}; {"": 2} is the whole table."""
        if set(versions) == {WHOLE}:
            return self.read(table, versions[WHOLE])
        groups: dict[int, list[str]] = {}
        for partition, version in versions.items():
            groups.setdefault(version, []).append(partition)
        return pl.concat([self.read(table, v, names) for v, names in sorted(groups.items())], how="diagonal_relaxed")

    def open(self, table: str, version: int | None = None) -> DeltaTable:
        """Open the Delta table. Raises LookupError with the remedy if it is missing, damaged or lacks the version."""
        try:
            return DeltaTable(self.path(table), version=version)
        except TableNotFoundError as error:
            raise LookupError(f"no table {table!r} in the lake {self.root}; materialize it first") from error
        except (DeltaError, OSError) as error:
            at = "" if version is None else f" at version {version}"
            raise LookupError(
                f"table {table!r}{at} cannot be read: {error}; restore the folder {self.path(table)}"
            ) from error

    def version(self, table: str) -> int:
        """Return the newest version of the table."""
        return self.open(table).version()

    def partition_versions(self, table: str, partitions: Iterable[str] | None = None) -> dict[str, int]:
        """Return the version that last wrote each partition (of those asked for that exist)."""
        found: dict[str, int] = {}
        for commit in self.history(table):
            for partition in commit["partitions"]:
                found.setdefault(partition, commit["version"])
        if partitions is None:
            return found
        return {name: found[name] for name in partitions if name in found}

    def history(self, table: str) -> list[dict[str, Any]]:
        """Return commits, newest first: version, timestamp (ms), partitions written, metadata given."""
        if not self.exists(table):
            return []
        return [
            {
                "version": commit["version"],
                "timestamp": commit.get("timestamp"),
                "partitions": json.loads(commit.get(_PARTITIONS, "[]")),
                "metadata": json.loads(commit.get(_METADATA, "{}")),
            }
            for commit in self.open(table).history()
        ]

    def metadata(self, table: str, version: int) -> dict[str, Any]:
        """Return what was recorded with the commit of `version`."""
        for commit in self.history(table):
            if commit["version"] == version:
                return commit["metadata"]
        raise LookupError(f"table {table!r} has no version {version}")

    def _write(
        self,
        table: str,
        frame: pl.DataFrame,
        mode: str,
        partitions: Sequence[str],
        metadata: Mapping[str, Any] | None,
        predicate: str | None,
    ) -> int:
        options: dict[str, Any] = {
            "commit_properties": CommitProperties(
                custom_metadata={
                    _PARTITIONS: json.dumps(list(partitions)),
                    _METADATA: json.dumps(dict(metadata or {}), default=str),
                }
            )
        }
        # A new column is null in the rows that were there before it.
        options["schema_mode"] = "overwrite" if mode == "overwrite" and predicate is None else "merge"
        if mode == "overwrite":
            options["predicate"] = predicate
            if list(partitions) != [WHOLE]:
                options["partition_by"] = [PARTITION_KEY]
        frame.write_delta(self.path(table), mode=mode, delta_write_options={k: v for k, v in options.items() if v})  # type: ignore[call-overload]
        return self.version(table)
