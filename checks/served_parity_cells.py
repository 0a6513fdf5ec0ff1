"""One view's cells of answers that were served: where they differ from the offline rows, and what the event times tell.

Counting them, and the verdict, are in `served_parity_tally`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from checks.parity_comparison import shown

STALE = "served with an older event"
LOST = "offline no longer has the event"
SAME = "another value of the same event"

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Cells:
    """One view's cells of N answers, and where they differ: bool [N] a column.

    `events` are the event times of the offline rows, `newest` the newest that is published; only of cells that differ.
    """

    view: str
    keys: Sequence[str]
    rows: pl.DataFrame
    trained: pl.DataFrame
    found: Mapping[str, Flags]
    events: pl.Series | None = None
    newest: datetime | None = None

    def explained(self, events: pl.Series, newest: datetime | None) -> "Cells":
        """Return them with the event times of the offline side."""
        return replace(self, events=events, newest=newest)

    @property
    def status(self) -> pl.Series:
        """What serving said of each answer's row."""
        return self.rows[f"{self.view}__status"]

    @property
    def served_events(self) -> pl.Series:
        """Event times of the rows that were served."""
        return self.rows[f"{self.view}__event_timestamp"]

    @property
    def read(self) -> Flags:
        """Where the store was read at all."""
        return (self.status != "not_read").fill_null(False).to_numpy()

    @property
    def ahead(self) -> Flags:
        """Where an event was served that is newer than all that is published: batch cannot judge it yet."""
        if self.newest is None:
            return np.zeros(self.rows.height, dtype=bool)
        return (self.served_events > self.newest).fill_null(False).to_numpy()

    @property
    def differ(self) -> Flags:
        """Answers of which a cell differs and may not."""
        return np.any(list(self.found.values()), axis=0) & self.read & ~self.ahead

    def why(self, place: int) -> str:
        """Say what the two event times of an answer tell."""
        assert self.events is not None
        served, offline = self.served_events[place], self.events[place]
        if served == offline:
            return SAME
        return STALE if served is None or (offline is not None and served < offline) else LOST

    def story(self, place: int, column: str) -> dict[str, Any]:
        """Return one cell that differs, for people."""
        assert self.events is not None
        row = self.rows.row(place, named=True)
        return {
            "time": row["time"].isoformat(),
            "prediction_id": row["prediction_id"],
            "version": row["model_version"],
            "column": column,
            "entity": ", ".join(f"{key}={row[key]!r}" for key in self.keys),
            "served": shown(row[column]),
            "offline": shown(self.trained[column][place]),
            "status": row[f"{self.view}__status"],
            "served event": _instant(self.served_events[place]),
            "offline event": _instant(self.events[place]),
            "why": self.why(place),
        }


def _instant(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat()
