"""Which rows a drift check compares, and the profiles of these that are kept: made once, on first use.

A window is one part or several (months of a table). What a part's rows are is said by its `key`, which changes when the
rows do; so a kept profile is never stale. Windows of several parts are kept too. Not here: where parts come from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import polars as pl

from checks.drift_profile import KEPT, Profile, keep, kept, merged, profile_of
from ml.fingerprint import json_hash

FORMAT = 1  # of kept profiles: another number makes them all anew


@dataclass(frozen=True)
class Part:
    """Rows of a table that never change: `key` names exactly them, `read` returns them lazily."""

    table: str
    label: str
    key: str
    read: Callable[[], pl.LazyFrame]


@dataclass(frozen=True)
class Window:
    """Rows under one name for people, and the parts they consist of; `in_order` says that these are months in a row."""

    name: str
    parts: tuple[Part, ...]
    in_order: bool = False

    def sample(self, columns: Sequence[str], rows: int, seed: int) -> pl.DataFrame:
        """Return at most `rows` rows drawn at random, the same ones each time."""
        frame = pl.concat([part.read().select(columns) for part in self.parts], how="vertical_relaxed").collect()
        return frame.sample(min(rows, frame.height), seed=seed)


class Profiles:
    """The profiles kept under a folder, one file a part and column."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, window: Window, column: str) -> Profile:
        """Return the profile of a column in a window of at least one part; made and kept if it is not yet.

        Raises what reading the rows raises, such as polars' ColumnNotFoundError.
        """
        if len(window.parts) == 1:
            return self._part(window.parts[0], column)
        first, last = window.parts[0], window.parts[-1]
        path = self._path(first.table, f"{first.label}..{last.label}", [part.key for part in window.parts], column)
        found = kept(path)
        if found is None:
            found = merged([self._part(part, column) for part in window.parts])
            keep(found, path)
        return found

    def rows(self, window: Window, column: str) -> int:
        """Return how many rows a window has, 0 for one without parts."""
        if not window.parts:
            return 0
        profile = self.of(window, column)
        return profile.present + profile.missing

    def _part(self, part: Part, column: str) -> Profile:
        path = self._path(part.table, part.label, [part.key], column)
        found = kept(path)
        if found is None:
            found = profile_of(part.read().select(column).collect().to_series())
            keep(found, path)
        return found

    def _path(self, table: str, label: str, keys: Sequence[str], column: str) -> Path:
        folder = f"{label}-{json_hash([FORMAT, *keys])[:16]}"
        return self._folder / quote(table, safe="") / quote(folder, safe="") / f"{quote(column, safe='')}{KEPT}"
