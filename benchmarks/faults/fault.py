"""What a fault is, and the file of a month with one in it. The faults are in the files beside this, by kind.

Used by the benchmark `fault_matrix`, drills and tests; nothing that a user runs on his own data imports it.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl

from ml.source import CsvReader, Source


@dataclass(frozen=True)
class Batch:
    """What a fault meets: the typed rows of a month (or of a whole reference table), and the source they are from."""

    source: Source
    month: str
    rows: pl.DataFrame
    whole: pl.DataFrame

    def before(self) -> pl.DataFrame:
        """Return the rows of the month before. Raises LookupError if the source has none."""
        year, month = map(int, self.month.split("-"))
        name = f"{year - (month == 1)}-{(month - 2) % 12 + 1:02d}"
        rows = _of_month(self.source, self.whole, name)
        if rows.is_empty():
            raise LookupError(f"source {self.source.name!r} has no {name}; try a fault of {self.month} that reads none")
        return rows


Spoil = Callable[[Batch, np.random.Generator], pl.DataFrame]
Damage = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Fault:
    """One way in which a month of a source arrives wrong.

    `what` tells it in a line. `spoil` changes rows, `damage` then changes the bytes of the file. `uncatchable` says why
    no check can tell the batch from a good one, if none can, and `missed` why the checks there are do not tell it, if a
    check could: both are run and shown like the others, and what is missed counts as such.
    """

    name: str
    source: str
    what: str
    spoil: Spoil | None = None
    damage: Damage | None = None
    uncatchable: str = ""
    missed: str = ""


def spoiled(source: Source, month: str, fault: Fault, folder: Path, seed: int) -> Source:
    """Return `source` over a file in `folder` that holds one month of it with the fault in.

    The month is "" for an unpartitioned source, which arrives whole. The file is what would arrive: a header and the
    rows of that month, as CSV. The same seed gives the same bytes. Raises ValueError if the fault is of another source.
    """
    if fault.source != source.name:
        raise ValueError(f"fault {fault.name!r} is one of {fault.source!r}, not of {source.name!r}")
    content = arrival(source, month, fault, seed)
    archived = content.startswith(b"PK")
    path = folder / f"{source.name}-{month or 'all'}-{fault.name}.csv{'.zip' if archived else ''}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return replace(source, reader=CsvReader(path))


def arrival(source: Source, month: str, fault: Fault, seed: int) -> bytes:
    """Return the bytes of the month's file with the fault in it."""
    whole = _read(cast(Hashable, source.reader), tuple(source.schema.items()))
    batch = Batch(source, month, _of_month(source, whole, month), whole)
    rows = fault.spoil(batch, np.random.default_rng(seed)) if fault.spoil else batch.rows
    content = rows.write_csv(null_value="NA").encode()
    return fault.damage(content) if fault.damage else content


@lru_cache(maxsize=8)
def _read(reader: Any, schema: tuple[tuple[str, pl.DataType], ...]) -> pl.DataFrame:
    rows: pl.DataFrame = reader.read(dict(schema))
    return rows


def _of_month(source: Source, whole: pl.DataFrame, month: str) -> pl.DataFrame:
    return whole if source.partition is None else whole.filter(source.partition == month)
