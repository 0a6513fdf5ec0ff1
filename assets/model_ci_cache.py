"""What `make model-ci` keeps between runs, each under a hash of all that made it: worlds, training sets, results.

An entry is a folder that appears whole or not at all. Nothing here knows what is in one.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

_KEPT = {"worlds": 4, "rows": 40, "results": 60}  # newest entries of each kind
_LENGTH = 20  # of a hash in a folder's name


@dataclass(frozen=True)
class Cache:
    """The folder `root`, a folder a kind in it."""

    root: Path

    def find(self, kind: str, name: str, key: str) -> Path | None:
        """Return the entry, if there is one; it counts as used now."""
        path = self._path(kind, name, key)
        if not path.is_dir():
            return None
        os.utime(path)
        return path

    @contextmanager
    def work(self) -> Iterator[Path]:
        """Yield an empty folder, gone afterwards; what killed runs left goes, too."""
        place = self.root / "work"
        place.mkdir(parents=True, exist_ok=True)
        for left in place.iterdir():
            if not Path("/proc", left.name.split("-")[0]).exists():
                shutil.rmtree(left, ignore_errors=True)
        with TemporaryDirectory(dir=place, prefix=f"{os.getpid()}-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    def put(self, kind: str, name: str, key: str, folder: Path) -> Path:
        """Move a whole folder here in one step and return where it is; one that another run has put there stays."""
        path = self._path(kind, name, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.rename(path)
        except OSError:
            if not path.is_dir():
                raise
        self._prune(kind)
        return path

    def drop(self, path: Path) -> None:
        """Forget an entry."""
        shutil.rmtree(path, ignore_errors=True)

    def _path(self, kind: str, name: str, key: str) -> Path:
        return self.root / kind / f"{name}-{key[:_LENGTH]}"

    def _prune(self, kind: str) -> None:
        entries = sorted((self.root / kind).iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in entries[_KEPT[kind] :]:
            self.drop(path)
