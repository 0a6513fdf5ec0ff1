"""A month of flights that arrives with its delays times a factor: the sources of a drill, one over a file of it."""

from dataclasses import replace

import polars as pl

from assets.resources import Platform
from ml.source import CsvReader, Source
from ml.sources import SOURCES, source_named

SPOILED = source_named("flights")
SECONDS = 60  # in a minute: the factor of delays in seconds
_DELAYS = ("dep_delay", "arr_delay")


def sources_with(platform: Platform, month: str, factor: int) -> list[Source]:
    """Return the sources with flights read from a file in the home: the month's rows, delays times the factor."""
    assert SPOILED.partition is not None
    path = platform.settings.root / f"{SPOILED.name}.csv"
    rows = SPOILED.read().filter(SPOILED.partition == month)
    rows.with_columns(pl.col(_DELAYS) * factor).write_csv(path, null_value="NA")
    return [replace(source, reader=CsvReader(path)) if source.name == SPOILED.name else source for source in SOURCES]
