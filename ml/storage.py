"""Where the files of the lake's tables lie: under a local folder, or under a prefix of an S3 bucket (`storage_s3`).

Here: names, sizes and texts of files, which Delta's own library does not tell. Not here: what the files mean
(`delta_log`, `data_files`), and reading and writing of rows, which Delta and polars do at `Storage.at`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

T = TypeVar("T")
U = TypeVar("U")
LOG = "_delta_log"


class StorageUnreachable(OSError):
    """The storage itself did not answer, or let us not in: nothing is known of any file."""


class Storage(Protocol):
    """The files under one root. Paths are relative to it, with slashes."""

    root: str
    locks: Path | None

    def at(self, path: str) -> str:
        """Return the address of a file or folder, as Delta, polars and Feast take it."""

    def reach(self, again: bool = False) -> None:
        """Raise StorageUnreachable with the remedy if there is no getting at the files at all.

        What has answered once is asked again only with `again`.
        """

    def refuse_lossy(self) -> None:
        """Raise OSError if of two writers of the same new file both would be told that theirs is there."""

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, in no order; none if there is no such folder."""

    def sizes(self, folder: str, paths: Sequence[str]) -> list[int]:
        """Return the bytes of files by their paths inside a folder, -1 for a missing one."""

    def texts(self, folder: str, names: Iterable[str]) -> Iterator[str]:
        """Yield the text of each file, lazily. Raises OSError at one that is missing or no text."""

    def each(self, read: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
        """Yield `read(item)` in order, in the way that is fastest for many small files."""

    def tables(self) -> list[str]:
        """Return the paths of all tables, <stage>/<name>, sorted."""


class LocalFiles:
    """The files under one local folder."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.locks: Path | None = root / ".locks"

    def at(self, path: str) -> str:
        """Return the path of a file or folder."""
        return os.path.join(self.root, path)

    def reach(self, again: bool = False) -> None:
        """Do nothing: a folder that is not there yet is an empty lake."""

    def refuse_lossy(self) -> None:
        """Do nothing: file systems make a new name for one writer only."""

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder."""
        try:
            return os.listdir(self.at(folder))
        except FileNotFoundError:
            return []

    def sizes(self, folder: str, paths: Sequence[str]) -> list[int]:
        """Return the bytes of each file, -1 for a missing one."""
        # Joined as text: an audit table has thousands of files, and each verdict asks.
        place = self.at(folder)
        return [_size(os.path.join(place, path)) for path in paths]

    def texts(self, folder: str, names: Iterable[str]) -> Iterator[str]:
        """Yield the text of each file."""
        place = self.at(folder)
        return (Path(os.path.join(place, name)).read_text() for name in names)

    def each(self, read: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
        """Yield one after the other."""
        return map(read, items)

    def tables(self) -> list[str]:
        """Return the paths of all tables, sorted."""
        return sorted(str(log.parent.relative_to(self.root)) for log in Path(self.root).glob(f"*/*/{LOG}"))


def storage_at(root: Path | str, locks: Path | None = None) -> Storage:
    """Return the storage at a local folder or at s3://bucket/prefix.

    `locks` is the folder of the lock files of an object store, which cannot lock; a local lake holds its own.
    """
    if str(root).startswith("s3://"):
        from ml.storage_s3 import S3Files

        return S3Files(str(root), locks)
    return LocalFiles(Path(root))


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return -1
