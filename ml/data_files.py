"""The data files behind a Delta table: which a version has, and which of them are missing or cut short.

Knows no lake: tables by name are in `lake`, what becomes of files that nobody needs in `housekeeping`.
"""

from collections.abc import Iterable
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable

from ml.storage import Storage


def data_files(opened: DeltaTable) -> dict[str, int]:
    """Return the bytes of each data file of a version, by path inside the table."""
    return dict(pl.DataFrame(opened.get_add_actions()).select("path", "size_bytes").iter_rows())


def lost_files(storage: Storage, table: str, opened: DeltaTable) -> list[str]:
    """Return the data files of a version of `table` that are missing or cut short, as paths inside it."""
    wanted = data_files(opened)
    return [path for path, size in sizes_of(storage, table, wanted).items() if wanted[path] != size]


def sizes_of(storage: Storage, table: str, paths: Iterable[str]) -> dict[str, int]:
    """Return the bytes of data files by their paths inside `table`, as Delta spells them, -1 for a missing one."""
    names = list(paths)
    return dict(zip(names, storage.sizes(table, [unquote(name) for name in names]), strict=True))
