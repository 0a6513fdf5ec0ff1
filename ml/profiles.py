"""The lake's table of partitions' profiles, append-only: what a check keeps of each, so that history is read once.

A profile belongs to one version of one partition of one table, and to the format of the code that made it. What is in
it is the check's own affair: here it is JSON. Whether a version is good is for the verdicts to say.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from ml.clock import Clock
from ml.lake import ORDER, Lake

TABLE = "audit/profiles"

_SCHEMA: dict[str, Any] = {
    "table": pl.String,
    "version": pl.Int64,
    "partition": pl.String,
    "format": pl.String,
    "profile": pl.String,
    "at": pl.Datetime("us", "UTC"),
    ORDER: pl.Int64,
}


class Profiles:
    """Reads and appends profiles of one format: rows of another are there, and are not given back."""

    def __init__(self, lake: Lake, clock: Clock, form: str) -> None:
        self._lake = lake
        self._clock = clock
        self._form = form

    def record(self, table: str, version: int, partition: str, profile: str) -> None:
        """Append the profile (JSON) of one version of one partition ("" if unpartitioned)."""
        row = {
            "table": table,
            "version": version,
            "partition": partition,
            "format": self._form,
            "profile": profile,
            "at": self._clock.now(),
            ORDER: 0,
        }
        self._lake.append_in_order(TABLE, pl.DataFrame([row], schema=_SCHEMA))

    def of(self, table: str, versions: Mapping[str, int]) -> dict[str, str]:
        """Return the newest profile of each partition at exactly its version, of those that have one."""
        if not versions or not self._lake.exists(TABLE):
            return {}
        mine = (pl.col("table") == table) & (pl.col("format") == self._form)
        wanted = mine & pl.col("partition").is_in(list(versions)) & pl.col("version").is_in(list(versions.values()))
        rows = self._lake.read(TABLE).filter(wanted).select("partition", "version", "profile", ORDER).collect()
        return {
            partition: profile
            for partition, version, profile, _ in rows.sort(ORDER).iter_rows()
            if versions[partition] == version
        }
