"""Stable identities of data: the same rows give the same hash in any process, on any machine."""

import hashlib
import json
from typing import Any

import polars as pl


def content_hash(frame: pl.DataFrame) -> str:
    """Return a SHA-256 over schema and rows of `frame`; row order counts, chunking does not."""
    digest = hashlib.sha256(json.dumps([[n, str(t)] for n, t in frame.schema.items()]).encode())
    for column in frame.rechunk().get_columns():
        digest.update(column.is_null().cast(pl.UInt8).to_numpy().tobytes())
        if column.dtype == pl.String:
            lengths = column.str.len_bytes().fill_null(0)
            digest.update(lengths.to_numpy().tobytes())
            digest.update("".join(column.fill_null("").to_list()).encode())
        else:
            digest.update(_numbers(column).to_numpy().tobytes())
    return digest.hexdigest()


class RunningHash:
    """A SHA-256 over schema and rows of a table that is seen a part at a time; how it is cut does not matter."""

    def __init__(self) -> None:
        self._schema = ""
        self._columns: dict[str, tuple[Any, ...]] = {}

    def update(self, part: pl.DataFrame) -> None:
        """Take the next rows; all parts have the same columns, in the same order."""
        self._schema = json.dumps([[n, str(t)] for n, t in part.schema.items()])
        for column in part.get_columns():
            column = column.rechunk()
            nulls, lengths, values = self._columns.setdefault(column.name, tuple(hashlib.sha256() for _ in range(3)))
            nulls.update(column.is_null().cast(pl.UInt8).to_numpy().tobytes())
            if column.dtype == pl.String:
                lengths.update(column.str.len_bytes().fill_null(0).to_numpy().tobytes())
                values.update("".join(column.fill_null("").to_list()).encode())
            else:
                values.update(_numbers(column).to_numpy().tobytes())

    def hexdigest(self) -> str:
        """Return the hash of all rows so far."""
        found = {name: [digest.hexdigest() for digest in digests] for name, digests in self._columns.items()}
        return json_hash([self._schema, found])


def json_hash(value: Any) -> str:
    """Return a SHA-256 of a JSON-able value; keys are sorted."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _numbers(column: pl.Series) -> pl.Series:
    if column.dtype.is_temporal():
        column = column.cast(pl.Int64)
    if column.dtype == pl.Boolean:
        column = column.cast(pl.UInt8)
    return column.fill_null(0)
