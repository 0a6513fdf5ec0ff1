"""What a drift check knows of a column: its exact distribution, compressed, as sorted values with counts.

Profiles of parts add up without loss, so statistics on them equal those on the rows. Here: making, adding, writing and
reading them. Not here: which rows a profile belongs to (`drift_windows`), and comparing (`drift_statistics`).
"""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

KEPT = ".profile"


@dataclass(frozen=True)
class Numbers:
    """A numeric column: distinct finite `values` [D], ascending, their `counts` [D], and how many rows had none.

    Null, NaN and infinity are `missing`. `whole` says that these are integers, none missing: numpy's bins differ then.
    """

    values: NDArray[np.float64]
    counts: NDArray[Any]
    missing: int
    whole: bool = False

    @cached_property
    def present(self) -> int:
        """Rows with a value."""
        return int(self.counts.sum())

    @cached_property
    def mean(self) -> float:
        """Mean of the values present."""
        if self._once:
            return float(self.values.mean())
        return float(np.sum(self.values * self.counts) / self.present)

    @cached_property
    def deviation(self) -> float:
        """Standard deviation of the values present, by N."""
        if self._once:
            return float(self.values.std())
        away = self.values - self.mean
        away *= away
        away *= self.counts
        return float(np.sqrt(away.sum() / self.present))

    @property
    def _once(self) -> bool:
        return 0 < len(self.values) == self.present

    def quantile(self, share: float) -> float:
        """Return the smallest value that at least `share` of the values do not exceed."""
        place = int(np.searchsorted(np.cumsum(self.counts), share * self.present))
        return float(self.values[min(place, len(self.values) - 1)])


@dataclass(frozen=True)
class Categories:
    """A column of names: distinct `values` [D], in order, their `counts` [D], and how many rows had none."""

    values: NDArray[np.str_]
    counts: NDArray[Any]
    missing: int
    whole: bool = False

    @cached_property
    def present(self) -> int:
        """Rows with a value."""
        return int(self.counts.sum())


Profile = Numbers | Categories


def profile_of(column: pl.Series) -> Profile:
    """Return a column's profile. Times count as numbers, in their own unit; booleans, lists and the like as names."""
    if column.dtype.is_numeric() or column.dtype.is_temporal():
        whole = column.dtype.is_integer() and column.null_count() == 0
        numbers = column.to_physical().drop_nulls().cast(pl.Float64).to_numpy()
        return _numbers(numbers, len(column), whole)
    return _categories(column)


def missing_share(profile: Profile) -> float:
    """Return the share of rows without a value, 0 if there are no rows."""
    return profile.missing / max(profile.present + profile.missing, 1)


def merged(profiles: Sequence[Profile]) -> Profile:
    """Return the profile of all the rows that `profiles` describe. Raises ValueError if only some are numeric."""
    if len(profiles) == 1:
        return profiles[0]
    filled = [profile for profile in profiles if profile.present] or [profiles[0]]
    kinds = {type(profile) for profile in filled}
    if len(kinds) > 1:
        raise ValueError("a column is numeric in some parts of a window and not in others; its parts do not add up")
    missing, whole = sum(p.missing for p in profiles), all(p.whole for p in profiles)
    values = np.concatenate([p.values for p in filled])
    counts = np.concatenate([p.counts.astype(np.int64) for p in filled])
    order = np.argsort(values, kind="stable")
    values, counts = values[order], counts[order]
    starts = _starts(values)
    if len(starts) < len(values):
        values, counts = values[starts], np.add.reduceat(counts, starts)
    return kinds.pop()(values, _small(counts), missing, whole)


def fingerprint(profile: Profile) -> str:
    """Return a hash of the rows a profile describes, whatever their order."""
    digest = hashlib.sha1(f"{type(profile).__name__} {profile.missing}".encode(), usedforsecurity=False)
    digest.update(profile.values.data if isinstance(profile, Numbers) else "\0".join(profile.values).encode())
    digest.update(profile.counts.data)
    return digest.hexdigest()


def keep(profile: Profile, path: Path) -> None:
    """Write a profile, in one step: a reader sees all of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".kept-", suffix=KEPT)
    with os.fdopen(handle, "wb") as file:
        for array in (np.array([profile.missing, profile.whole], np.int64), profile.counts, profile.values):
            np.save(file, array, allow_pickle=False)
    os.replace(temporary, path)


def kept(path: Path) -> Profile | None:
    """Return the profile at `path`, None if there is none or it is damaged: it is made again then."""
    try:
        with path.open("rb") as file:
            facts, counts, values = (np.load(file, allow_pickle=False) for _ in range(3))
    except (OSError, ValueError, EOFError):
        return None
    os.utime(path)  # what is used stays: `make vacuum` goes by this
    kind = Categories if values.dtype.kind == "U" else Numbers
    return kind(values, counts, int(facts[0]), bool(facts[1]))


def _numbers(numbers: NDArray[np.float64], rows: int, whole: bool) -> Numbers:
    finite = np.isfinite(numbers)
    ordered = np.sort(numbers if finite.all() else numbers[finite])
    starts = _starts(ordered)
    counts = np.diff(starts, append=len(ordered))
    values = ordered if len(starts) == len(ordered) else ordered[starts]
    return Numbers(values, _small(counts), rows - len(ordered), whole)


def _categories(column: pl.Series) -> Categories:
    present = column.drop_nulls()
    nested = column.dtype.is_nested()
    names = pl.Series(map(str, present.to_list()), dtype=pl.String) if nested else present.cast(pl.String)
    counted = names.alias("name").value_counts().sort("name")
    values = np.array(counted["name"].to_list(), dtype=np.str_)
    return Categories(values, _small(counted["count"].to_numpy()), len(column) - len(present))


def _starts(ordered: NDArray[Any]) -> NDArray[np.intp]:
    """Return where each distinct value of a sorted array begins."""
    new = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return np.flatnonzero(new)


def _small(counts: NDArray[Any]) -> NDArray[Any]:
    """Return the counts in the narrowest type that holds them: most values of a measured number stand once."""
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))
