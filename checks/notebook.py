"""The lake for notebooks: reads like the lake, warns where a table's checks did not pass, and writes nothing.

Bad rows are told of, not refused. What notebooks import is `assets/notebook_home.py`, which has more than tables.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from checks.guard import Guard, Problem, name_of
from ml.lake import WHOLE

SHOWN = 3


class UncheckedDataWarning(UserWarning):
    """What was just read has not passed its blocking checks."""


@dataclass(frozen=True)
class NotebookLake:
    """A read-only lake that says which of the rows it returns no gate has let through."""

    guard: Guard

    def read(self, table: str, version: int | None = None, partitions: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return a table as of `version` (default: newest; of published tables, what is published), lazily.

        Issues an UncheckedDataWarning naming table, partitions, checks and runs if some of it did not pass. Raises
        LookupError with the remedy if the table or the version is missing.
        """
        stage, _, name = table.partition("/")
        if stage == "published" and version is None:
            version = self.guard.publications.require(name).version
        rows = self.guard.lake.read(table, version, partitions)
        problems = self._problems(table, version, partitions)
        if problems:
            shown = "; ".join(f"{name_of(p.table, p.partition)} {p.check} {p.reason}" for p in problems[:SHOWN])
            more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
            warnings.warn(f"{table} has not passed its checks: {shown}{more}", UncheckedDataWarning, stacklevel=2)
        return rows

    def _problems(self, table: str, version: int | None, partitions: Sequence[str] | None) -> list[Problem]:
        stage, _, name = table.partition("/")
        if stage == "published":
            log = [p for p in self.guard.publications.log(name) if p.version == version]
            staged = log[-1].staged if log else {}
            table, written = f"features/{name}", {p: v for p, v in staged.items() if _wanted(p, partitions)}
        else:
            commits = [c for c in self.guard.lake.history(table) if version is None or c["version"] <= version]
            written = {}
            for commit in commits:
                for partition in commit["partitions"]:
                    if _wanted(partition, partitions):
                        written.setdefault(partition, commit["version"])
        try:
            return self.guard.problems(table, written)
        except LookupError:  # audit tables and logs have no gates
            return []


def _wanted(partition: str, partitions: Sequence[str] | None) -> bool:
    return partitions is None or partition in partitions or partition == WHOLE
