"""What every check returns: a verdict, one line for people, and the evidence behind it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outcome:
    """A check's answer. `evidence` is JSON-able; `table` holds rows worth showing; `report` is an HTML page."""

    passed: bool
    summary: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    table: tuple[Mapping[str, Any], ...] = ()
    report: Path | None = None
