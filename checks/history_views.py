"""A partition as numbers: what every statistic of its history check is computed from.

Reading columns into arrays, ordering rows and cutting the month into blocks of days belong here; statistics do not.
"""

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import polars as pl

EVENT, CREATED, PARTITION = "event_timestamp", "created_timestamp", "partition_key"
BLOCKS = 6  # a month is cut into so many runs of whole days; leaving one out at a time tells how sure a statistic is
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
DAY = 24.0  # hours
SPAN = " minus "
ARROW, AT_LEAST, CLOCK = " -> ", " >= ", " on the clock"  # marks of rules, which are read back from their names
_EPOCHS = {1: (1e9, 4e9), 1_000: (1e12, 4e12), 1_000_000: (1e15, 4e15)}  # 2001 to 2096 in s, ms and us


@dataclass(frozen=True)
class Table:
    """What is declared of a table: its name in the lake, the key of a row and the type of each column.

    `event_timestamp`, `created_timestamp` and `partition_key` need not be declared.
    """

    name: str
    key: tuple[str, ...]
    columns: Mapping[str, pl.DataType]


class Views:
    """One partition's rows as arrays, a row a key: where a key has several versions, its newest.

    `numbers` are float arrays by column with NaN for null: numbers as they are, instants in hours from the start of the
    partition's month (of 1970 without one). `texts` are the text columns.
    """

    def __init__(self, table: Table, partition: str, rows: pl.DataFrame) -> None:
        self.table, self.partition = table, partition
        self.key = [name for name in table.key if name in rows.columns]
        self.frame = _newest(rows, self.key)
        self.height = self.frame.height
        self.start, self.hours = _month(partition)
        self.names = [n for n in self.frame.columns if n not in (CREATED, PARTITION)]
        self.numbers: dict[str, np.ndarray] = {}
        self.texts: list[str] = []
        self.instants: list[str] = []
        self.shift: dict[str, float] = {}
        self.nulls = {n: self.frame[n].is_null().to_numpy() for n in self.names if self.frame[n].null_count()}
        for name in self.names:
            self._take(name)
        self._take_calendar()

    def _take(self, name: str) -> None:
        column = self.frame[name]
        if column.dtype == pl.String or column.dtype in (pl.Categorical, pl.Enum):
            self.texts.append(name)
        elif column.dtype in (pl.Datetime, pl.Date):
            since = column.cast(pl.Datetime("us")).cast(pl.Int64).cast(pl.Float64).to_numpy()
            self.numbers[name] = (since / 1e6 - self.start) / 3600
            self.instants.append(name)
        elif column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Duration, pl.Decimal):
            plain = column.to_physical() if column.dtype == pl.Duration else column
            values = plain.cast(pl.Float64).to_numpy()
            values = np.where(np.isfinite(values), values, np.nan)
            unit = _epoch_unit(values, self.start) if column.dtype.is_integer() and self.partition else None
            if unit is not None:
                values = (values / unit - self.start) / 3600
                self.instants.append(name)
            self.numbers[name] = values

    def _take_calendar(self) -> None:
        """A column that only repeats the partition's year or month is read as its distance from it: always 0."""
        for name in self.plain:
            ordered = self.sorted[name]
            if ordered.size and ordered[0] == ordered[-1] and ordered[0] in self.parts.values():
                self.shift[name] = float(ordered[0])
                self.numbers[name] = self.numbers[name] - ordered[0]
                self.sorted[name] = ordered - ordered[0]

    @property
    def parts(self) -> dict[str, int]:
        """The year and month that the partition's name tells."""
        numbers = (int(part) for part in self.partition.split("-") if part)
        return dict(zip(("year", "month"), numbers, strict=False))

    @cached_property
    def differences(self) -> dict[str, np.ndarray]:
        """Hours from the partition's main instant to each other instant, by a name that says so."""
        if self.time is None:
            return {}
        others = [n for n in self.instants if n != self.time and n in self.quantiles]
        return {f"{n}{SPAN}{self.time}, hours": self.numbers[n] - self.numbers[self.time] for n in others}

    @property
    def plain(self) -> list[str]:
        """Numbers that are not instants."""
        return [n for n in self.numbers if n not in self.instants]

    @cached_property
    def sorted(self) -> dict[str, np.ndarray]:
        """Each column's numbers in order, without nulls."""
        return {n: _sorted(v) for n, v in self.numbers.items()}

    @cached_property
    def quantiles(self) -> dict[str, np.ndarray]:
        """`QUANTILES` of each column of numbers that has any."""
        shares = np.array(QUANTILES)
        return {n: v[(shares * (v.size - 1)).round().astype(int)] for n, v in self.sorted.items() if v.size}

    @cached_property
    def time(self) -> str | None:
        """The instant that orders the rows: one of the key, else when the row became known."""
        wanted = [n for n in (*self.key, EVENT, *self.instants) if n in self.instants]
        varied = [n for n in wanted if self.sorted[n].size and self.sorted[n][0] < self.sorted[n][-1]]
        return varied[0] if varied else None

    @cached_property
    def day(self) -> np.ndarray:
        """The day of each row, counted from the first; all 0 without an instant."""
        if self.time is None:
            return np.zeros(self.height, dtype=np.int64)
        days = np.floor(np.nan_to_num(self.numbers[self.time]) / DAY).astype(np.int64)
        return np.clip(days - days.min(initial=0), 0, 4000) if days.size else days

    @cached_property
    def block(self) -> np.ndarray:
        """The block of each row: runs of whole days with about as many rows each, or of rows in the key's order."""
        if self.time is None or self.day.max(initial=0) < BLOCKS:
            place = np.empty(self.height, dtype=np.int64)
            place[self.by_entity] = np.arange(self.height)
            return place * BLOCKS // max(self.height, 1)
        before = np.concatenate([[0], np.cumsum(np.bincount(self.day))[:-1]])
        return (before * BLOCKS // self.height)[self.day]

    @cached_property
    def codes(self) -> dict[str, tuple[np.ndarray, int]]:
        """Columns of at most 5,000 values as (codes, how many): the last code is null."""
        found = {}
        for name in self.names:
            if name in self.texts:
                codes, values = self.text_codes[name]
                found[name] = (codes, len(values))
            elif name in self.numbers and self.sorted[name].size:
                distinct = self.distinct[name]
                if distinct.size <= 5_000:
                    codes = np.searchsorted(distinct, np.nan_to_num(self.numbers[name], nan=np.inf))
                    found[name] = (codes, distinct.size)
        return found

    @cached_property
    def distinct(self) -> dict[str, np.ndarray]:
        """Each column's different numbers, in order."""
        return {n: v[np.concatenate([[True], v[1:] != v[:-1]])] if v.size else v for n, v in self.sorted.items()}

    @cached_property
    def text_codes(self) -> dict[str, tuple[np.ndarray, list[str]]]:
        """Each text column as codes into its values; null is one past the last."""
        found = {}
        for name in self.texts:
            column = self.frame[name].cast(pl.String)
            values = column.drop_nulls().unique().sort()
            codes = column.to_frame("v").join(
                values.to_frame("v").with_row_index("code"), on="v", how="left", maintain_order="left"
            )["code"]
            found[name] = (codes.fill_null(len(values)).cast(pl.Int64).to_numpy(), values.to_list())
        return found

    @cached_property
    def entity(self) -> np.ndarray:
        """A number for each row's entity: its key without instants."""
        entity = np.zeros(self.height, dtype=np.int64)
        for name in self.key:
            if name in self.codes and name not in self.instants:
                codes, count = self.codes[name]
                entity = entity * (count + 1) + codes
        return entity

    @cached_property
    def by_entity(self) -> np.ndarray:
        """Row numbers ordered by entity, then time."""
        return np.lexsort((self._instant, self.entity))

    @cached_property
    def by_time(self) -> np.ndarray:
        """Row numbers ordered by time, then entity."""
        return np.lexsort((self.entity, self._instant))

    @property
    def _instant(self) -> np.ndarray:
        return np.zeros(self.height) if self.time is None else self.numbers[self.time]


def nameable(name: str) -> bool:
    """Whether a rule can name a column: rules are read back from their names."""
    return not any(mark in name for mark in (ARROW, AT_LEAST, CLOCK, " & ", " + ", " - ", " * "))


def _newest(rows: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    if not key or CREATED not in rows.columns or EVENT not in rows.columns or (rows[CREATED] == rows[EVENT]).all():
        return rows
    return rows.sort(CREATED).unique(key, keep="last", maintain_order=True)


def _month(partition: str) -> tuple[float, float]:
    """Return the start of a partition's month in seconds since 1970 and its length in hours."""
    if not partition:
        return 0.0, 0.0
    year, month = (int(part) for part in partition.split("-")[:2])
    return datetime(year, month, 1, tzinfo=UTC).timestamp(), calendar.monthrange(year, month)[1] * DAY


def _epoch_unit(values: np.ndarray, start: float) -> int | None:
    """Return how many units of an integer make a second if it counts time around the partition's month, else None."""
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    middle = float(np.median(known))
    for unit, (low, high) in _EPOCHS.items():
        if low < middle < high and abs(middle / unit - start) < 400 * DAY * 3600:
            return unit
    return None


def _sorted(values: np.ndarray) -> np.ndarray:
    ordered = np.sort(values)
    return ordered[: ordered.size - np.count_nonzero(np.isnan(ordered))]
