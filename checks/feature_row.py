"""The feature row that an answer was given, looked up in the published table, and whether it is what was logged.

Pure: rows and an answer in, evidence out. The rows behind it are found in `raw_behind`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from checks.parity_comparison import differing, shown
from ml.feature_views import FeatureView
from ml.history import CREATED, EVENT
from ml.lake import PARTITION_KEY
from ml.point_in_time import state_as_of

_WHY = {
    "present": "",
    "not_found": "nothing was known of this key",
    "outside_max_age": "its row was older than the view's ttl: answered without it",
    "not_read": "not read, the store was down or too slow: answered with training rows' values",
}


@dataclass(frozen=True)
class FeatureRow:
    """What an answer was given of one view.

    `status` and `event` are those of the log, `published` is the row of the same keys that was known at the answer's
    moment [0 or 1 rows], `logged` what the graph was given by field (only of fields that the version reads).
    """

    view: FeatureView
    keys: Mapping[str, Any]
    status: str
    event: datetime | None
    moment: datetime
    logged: Mapping[str, Any]
    published: pl.DataFrame

    @property
    def why(self) -> str:
        """Why there are no values, "" if there are."""
        return _WHY.get(self.status, self.status)

    @property
    def month(self) -> str | None:
        """The partition that the published row lies in."""
        return None if self.published.is_empty() else str(self.published[PARTITION_KEY][0])

    @property
    def served(self) -> bool:
        """Whether the published row is the one that the answer was given: of the same event."""
        return not self.published.is_empty() and self.published[EVENT][0] == self.event

    def cells(self) -> Iterator[dict[str, Any]]:
        """Yield each value that the graph was given, beside that of the published row.

        `same` says whether they are the same bits, None where the answer was given no row.
        """
        for name, kind in self.view.fields:
            if name in self.logged:
                offline = None if self.published.is_empty() else self.published[name]
                same = offline is not None and not differing([self.logged[name]], offline, kind)
                told = {
                    "feature": name,
                    "logged": self.logged[name],
                    "published": None if offline is None else offline[0],
                }
                yield {**told, "same": same if self.status == "present" else None}

    def problems(self, newest: datetime | None) -> tuple[str, ...]:
        """Say where log and published table do not agree; `newest` is the newest event that is published."""
        of = f"{self.view.name} of {told_keys(self.keys)}"
        if self.status == "not_found" and not self.published.is_empty():
            return (f"{of}: nothing was served, while {_instant(self.published[EVENT][0])} is published",)
        if self.event is None:
            return ()
        if newest is not None and self.event > newest:
            return (f"{of}: the event {_instant(self.event)} was pushed and is not published yet",)
        if not self.served:
            found = "no row" if self.published.is_empty() else _instant(self.published[EVENT][0])
            return (f"{of}: the row of {_instant(self.event)} was served, published at that moment is {found}",)
        if self.status != "present":
            return ()
        return tuple(
            f"{of}: {cell['feature']} was {shown(cell['logged'])}, published is {shown(cell['published'])}"
            for cell in self.cells()
            if not cell["same"]
        )


def feature_row(view: FeatureView, answer: Mapping[str, Any], history: pl.DataFrame) -> FeatureRow:
    """Return what an answer was given of a view.

    Args:
        view: The view.
        answer: The answer's row of the prediction log.
        history: The published rows of its keys.
    """
    logged = {field.name: answer[c] for field in view.fields if (c := f"{view.name}__{field.name}") in answer}
    return FeatureRow(
        view=view,
        keys={key: answer.get(key) for key in view.join_keys},
        status=answer.get(f"{view.name}__status") or "unknown",
        event=answer.get(f"{view.name}__event_timestamp"),
        moment=answer["time"],
        logged=logged,
        published=state_as_of(history, view.join_keys, answer["time"]).filter(pl.col(EVENT) <= answer["time"]),
    )


def told_keys(keys: Mapping[str, Any]) -> str:
    """Return keys as people read them."""
    return ", ".join(f"{name}={value}" for name, value in keys.items())


def instants(row: FeatureRow) -> dict[str, datetime]:
    """Return both instants of the published row."""
    return {} if row.published.is_empty() else {name: row.published[name][0] for name in (EVENT, CREATED)}


def _instant(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
