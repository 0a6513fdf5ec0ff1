"""What every check returns: a verdict, one line for people, and the evidence behind it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from ml.quarantine import RULE as RULE


@dataclass(frozen=True)
class Outcome:
    """A check's answer.

    `evidence` is JSON-able and goes to the audit table: counts, observed and expected values. `table` holds a row a
    rule, the broken ones first, for the UI. `failing` holds the judged table's own rows that broke a rule, keys and
    all, with the rule in the column `rule`; they are kept with a quarantined batch. `plot` is a PNG picture. `report`
    is an HTML page. `short` is the summary in a few words, where that is long: it stands beside it.
    """

    passed: bool
    summary: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    table: tuple[Mapping[str, Any], ...] = ()
    failing: pl.DataFrame | None = None
    plot: bytes | None = None
    report: Path | None = None
    short: str = ""
