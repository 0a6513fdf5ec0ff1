"""Keeps a lake's tables small: removes the files that nobody needs, and puts many small ones into few.

Which versions somebody needs is told by the caller (`retention`). Tables and their versions are in `lake`.
"""

import math
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from ml.data_files import data_files, sizes_of
from ml.lake import KEEP_LOG, Lake


class Housekeeping:
    """The housekeeping of one lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def vacuum(self, table: str, keep: Iterable[int], grace: timedelta, dry_run: bool) -> dict[str, int]:
        """Remove the files that neither the newest version nor those in `keep` need, left-overs of killed writers too.

        Files younger than `grace` (whole hours), or replaced since, stay: somebody may be writing or reading
        them. Returns bytes by path inside the table; a dry run only tells. Delta's log is never shortened.
        """
        opened = self._lake.open(table)
        options: dict[str, Any] = {
            "retention_hours": math.ceil(grace / timedelta(hours=1)),
            "enforce_retention_duration": False,
            "full": True,
            "keep_versions": sorted(keep),
        }
        sizes = sizes_of(self._lake.storage, table, opened.vacuum(dry_run=True, **options))
        sizes = {path: size for path, size in sizes.items() if size >= 0}
        if sizes and not dry_run:
            opened.vacuum(dry_run=False, post_commithook_properties=KEEP_LOG, **options)
        return sizes

    def appended_files(self, table: str) -> int:
        """Return how many data files a table has that grows by appends, 0 if it is partitioned."""
        opened = self._lake.open(table)
        return 0 if opened.metadata().partition_columns else len(data_files(opened))

    def compact(self, table: str) -> int:
        """Put the many small files of a table that grew by appends into few; return how many it had.

        No row changes and the table gets no new version; the small files stay until a vacuum finds them unused.
        """
        metrics = self._lake.open(table).optimize.compact(post_commithook_properties=KEEP_LOG)
        return metrics["numFilesRemoved"]

    def versions_with(self, table: str, paths: Iterable[str]) -> list[int]:
        """Return the versions, still whole, that need any of the files `paths` (inside the table), oldest first."""
        wanted, found = set(paths), list[int]()
        for commit in reversed(self._lake.history(table)) if wanted else []:
            files = data_files(self._lake.open(table, commit["version"]))
            if wanted.intersection(files) and not self._lake.lost(table, commit["version"]):
                found.append(commit["version"])
        return found
