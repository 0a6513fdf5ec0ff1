"""A check of one's own on a table's rows, as data. The instances are in `checks/tables`; nothing is run here."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from checks.outcome import Outcome


@dataclass(frozen=True)
class TableCheck:
    """A check on each partition of the `tables` named: raw/<source> or features/<view>.

    `judge` is given the rows of one version of one partition, and the partition ("2013-03", "" for a table that lands
    whole). If the check is `blocking`, nobody reads a partition of these tables without its verdict.
    """

    name: str
    description: str
    tables: tuple[str, ...]
    judge: Callable[[pl.DataFrame, str], Outcome]
    blocking: bool = True
