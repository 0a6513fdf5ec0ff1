"""All rows of a version of a small table, kept in memory file by file: the next version reads only new files."""

from collections.abc import Iterable

import polars as pl


class Snapshot:
    """The rows of `version`, which are in the Parquet files `paths`: of these, Delta never changes one."""

    def __init__(self, version: int, paths: Iterable[str], before: "Snapshot | None") -> None:
        """Read the files that the snapshot `before` does not have."""
        kept = before._files if before else {}
        self._files: dict[str, pl.DataFrame] = {path: kept[path] if path in kept else _read(path) for path in paths}
        self.version = version
        self.rows = pl.concat(self._files.values(), how="diagonal_relaxed")


def _read(path: str) -> pl.DataFrame:
    return pl.read_parquet(path, glob=False, hive_partitioning=False)
