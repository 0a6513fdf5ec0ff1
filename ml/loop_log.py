"""The audit trail of the loop, append-only, in the lake: what was done about a model without a hand, when and why.

Here: the record. What to do is decided in `checks/retraining.py` and `assets/trial.py`; who is told of it, by alerts.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import polars as pl

from ml.clock import Clock
from ml.lake import ORDER, Lake

TABLE = "audit/loop"

Event = Literal[
    "retrain", "held", "trained", "refused", "shadow", "canary", "champion", "reverted", "waiting", "approved", "failed"
]

_SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "event": pl.String,
    "key": pl.String,
    "version": pl.String,
    "reason": pl.String,
    "evidence": pl.String,
    "actor": pl.String,
    "run_id": pl.String,
    "at": pl.Datetime("us", "UTC"),
    ORDER: pl.Int64,
}


@dataclass(frozen=True)
class LoopEvent:
    """One thing that happened, by the platform's clock.

    `retrain`: a retraining was asked for, `held`: one was due and was not, `trained`: its version is registered,
    `refused`: the gates refused the version; `shadow`, `canary`, `champion`: it serves as such; `reverted`: it left
    service; `waiting`: for a person to approve; `approved`: one did; `failed`: a step failed for good. `key` names what
    happened once for all time, such as a data version or a version's step; `version` is that of the model, if any.
    """

    model: str
    event: Event
    key: str
    reason: str
    version: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    actor: str = "loop"
    run_id: str = ""


class LoopLog:
    """Reads and appends loop events."""

    def __init__(self, lake: Lake, clock: Clock) -> None:
        self._lake, self._clock = lake, clock

    def record(self, event: LoopEvent) -> bool:
        """Append an event unless the same one (model, event, key) is there; return whether it was appended.

        Safe among processes: whoever comes second appends nothing.
        """
        with self._lake.lock(f"{TABLE}.once"):
            known = self.rows(event.model).filter(event=event.event, key=event.key)
            if not known.is_empty():
                return False
            told = json.dumps(dict(event.evidence), default=str)
            row = asdict(event) | {"evidence": told, "at": self._clock.now(), ORDER: 0}
            self._lake.append_in_order(TABLE, pl.DataFrame([row], schema=_SCHEMA))
            return True

    def rows(self, model: str | None = None) -> pl.DataFrame:
        """Return the events of a model, or of all, oldest first, one row each; `evidence` is JSON."""
        if not self._lake.exists(TABLE):
            return pl.DataFrame(schema=_SCHEMA)
        rows = self._lake.snapshot(TABLE).sort(ORDER)
        return rows if model is None else rows.filter(model=model)
