"""All rows of a version of a small table, kept in memory file by file: the next version reads only new files."""

from collections.abc import Callable, Iterable, Iterator

import polars as pl

Each = Callable[[Callable[[str], pl.DataFrame], Iterable[str]], Iterator[pl.DataFrame]]


class Snapshot:
    """The rows of `version`, which are in the Parquet files `paths`: of these, Delta never changes one."""

    def __init__(self, version: int, paths: Iterable[str], before: "Snapshot | None", each: Each = map) -> None:
        """Read the files that the snapshot `before` does not have, `each` as their storage reads many."""
        kept, wanted = before._files if before else {}, list(paths)
        new = [path for path in wanted if path not in kept]
        read = dict(zip(new, each(_read, new), strict=True))
        self._files: dict[str, pl.DataFrame] = {path: kept[path] if path in kept else read[path] for path in wanted}
        self.version = version
        self.rows = pl.concat(self._files.values(), how="diagonal_relaxed")


def _read(path: str) -> pl.DataFrame:
    return pl.read_parquet(path, glob=False, hive_partitioning=False)
