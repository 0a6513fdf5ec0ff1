"""What the monitoring checks judge: one version's answers in one window with the labels that came, and held-out ones.

Here: the rows and what all checks say of them. Not here: the checks (`monitoring_quality`, `monitoring_answers`,
`monitoring_health`), and which rows these are (assets/monitoring_rows.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from checks.outcome import Outcome
from ml.bootstrap import Interval
from ml.fingerprint import content_hash, json_hash
from ml.windows import Span

LEARNED_FROM = 4  # windows before, from which calibration learns
_JUDGED = ("prediction_id", "time", "answer", "label", "degraded", "taken_ms")

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """One version's answers in a window, and in up to four windows before it; both have columns of <model>/outcomes."""

    span: Span
    version: str
    rows: pl.DataFrame
    before: pl.DataFrame

    @cached_property
    def whole(self) -> pl.DataFrame:
        """Those that were given with all features: the others tell of a store, not of a model."""
        return self.rows.filter(~pl.col("degraded"))

    @cached_property
    def labelled(self) -> pl.DataFrame:
        """Those of `whole` whose label came."""
        return self.whole.drop_nulls(["label", "answer"])

    @cached_property
    def learned_from(self) -> pl.DataFrame:
        """The same of the windows before."""
        return self.before.filter(~pl.col("degraded")).drop_nulls(["label", "answer"])

    @cached_property
    def content(self) -> str:
        """A hash of the rows judged: other rows, or the same ones with other labels, have another."""
        parts = (part.select(_JUDGED).sort("prediction_id") for part in (self.rows, self.before))
        return json_hash([self.version, *(content_hash(part) for part in parts)])

    def outcome(self, passed: bool, summary: str, evidence: Mapping[str, Any], plot: bytes | None = None) -> Outcome:
        """Return a verdict on these rows. Only what judged them has `content` in its evidence."""
        table = tuple({"what": name, "value": told(value)} for name, value in evidence.items())
        about = {**self.about, "content": self.content}
        return Outcome(passed, f"{self.title}: {summary}", {**about, **evidence}, table, plot=plot)

    def not_judged(self, why: str) -> Outcome:
        """Return that nothing is said of these rows, and why."""
        return Outcome(True, f"{self.title}: not judged: {why}", {**self.about, "not_judged": why})

    @property
    def title(self) -> str:
        """The window and the version, for people."""
        return f"version {self.version}, {self.span.start:%Y-%m-%d} to {self.span.end:%Y-%m-%d}"

    @property
    def about(self) -> dict[str, Any]:
        """What every verdict says of the rows."""
        return {
            "start": self.span.start.isoformat(),
            "end": self.span.end.isoformat(),
            "version": self.version,
            "rows": self.rows.height,
            "labelled": self.labelled.height,
        }


@dataclass(frozen=True)
class HeldOut:
    """A version's answers to its held-out rows [N]: columns `answer`, `label` and `time`."""

    rows: pl.DataFrame


def groups(rows: pl.DataFrame) -> Numbers | None:
    """Return the day [N] of each answer, to be drawn whole, None if there are not several."""
    day = rows["time"].dt.date()
    return day.to_numpy() if day.n_unique() > 1 else None


def numbers(rows: pl.DataFrame) -> tuple[Numbers, Numbers]:
    """Return labels [N] and answers [N]."""
    return rows["label"].cast(pl.Float64).to_numpy(), rows["answer"].cast(pl.Float64).to_numpy()


def spread(found: Interval) -> dict[str, float]:
    """Return an interval as evidence."""
    return {"value": found.value, "low": found.low, "high": found.high}


def told(value: Any) -> str:
    """Return a piece of evidence for people."""
    if isinstance(value, Mapping) and {"value", "low", "high"} <= value.keys():
        return f"{value['value']:.4g} [{value['low']:.4g}, {value['high']:.4g}]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
