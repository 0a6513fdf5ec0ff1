"""Whether the graph was given what training reads: logged features against the offline row of that moment, bit for bit.

Here: which cells of an answer can be compared, and with what. Counting and wording are in `served_parity_tally`;
which answers are looked at is the caller's part.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from checks.outcome import Outcome
from checks.served_parity_cells import Cells
from checks.served_parity_tally import Tally
from ml.feature_store import historical_features
from ml.feature_views import FeatureView
from ml.history import CREATED, EVENT, frame_pieces
from ml.point_in_time import Lookup, PointInTimeJoin
from ml.scoring import feed
from serving.feeds import ONNX_TYPES
from serving.plan import Input, Plan

if TYPE_CHECKING:
    import feast

CHECK = "served_parity"

_AT = "__asked_at"


@dataclass(frozen=True)
class OfflineRows:
    """The offline side: views, the published versions of their rows by name, and Feast over the same versions."""

    views: Mapping[str, FeatureView]
    histories: Mapping[str, pl.LazyFrame]
    store: "feast.FeatureStore"

    def has(self, wanted: Input) -> bool:
        """Whether there are rows of the view, and the feature is declared."""
        view = self.views.get(wanted.view or "")
        fields = () if view is None or view.name not in self.histories else view.fields
        return wanted.source in {field.name for field in fields}

    def features(self, answers: pl.DataFrame, inputs: Sequence[Input]) -> pl.DataFrame:
        """Return [answers, input columns]: what a training row of that moment holds."""
        keys = dict.fromkeys(key for i in inputs for key in self.views[str(i.view)].join_keys)
        asked = answers.select(*keys, pl.col("time").alias(EVENT))
        found = historical_features(self.store, asked, [f"{i.view}:{i.source}" for i in inputs])
        return found.select(i.column for i in inputs)

    def events(self, view: str, answers: pl.DataFrame) -> pl.Series:
        """Return the event time of the row that was known of each answer's entity, expired or not, null if none."""
        keys = self.views[view].join_keys
        history = self.histories[view].select(*keys, EVENT, CREATED)
        join = PointInTimeJoin(answers.select(*keys, pl.col("time").alias(_AT)), _AT)
        return join.look_up(Lookup(frame_pieces(history), {key: key for key in keys}, {EVENT: "event"}))["event"]

    def newest(self, view: str) -> datetime | None:
        """Return the newest event that is published of a view."""
        found: datetime | None = self.histories[view].select(pl.col(EVENT).max()).collect().item()
        return found


def check_served_parity(
    answers: pl.DataFrame, plan_of: Callable[[int], Plan | None], offline: OfflineRows, landed: int
) -> Outcome:
    """Compare what each answer was given with the offline row of the same keys at the answer's time.

    Args:
        answers: [answers, columns of the prediction log]: what callers got, a sample of them where there are many.
            An input that has no column here is not compared.
        plan_of: Returns the plan of a revision, None if it is gone.
        offline: The offline side.
        landed: How many answers the sample was drawn from.

    Returns:
        A failure names the first cell that differs, in order of time, with both values and both event times.
    """
    tally = Tally(landed)
    parts = answers.sort("time", "prediction_id").partition_by("revision", "model_version", maintain_order=True)
    for rows in parts:
        revision, version = rows.select("revision", "model_version").row(0)
        _compare(tally, rows, _inputs(plan_of(revision), version), offline)
    return tally.outcome(answers)


def _inputs(plan: Plan | None, version: str) -> list[Input]:
    arm = plan.arm_of(version) if plan else None
    return [i for i in arm.version.inputs if i.view is not None] if arm else []


def _compare(tally: Tally, rows: pl.DataFrame, inputs: Sequence[Input], offline: OfflineRows) -> None:
    known = [i for i in inputs if i.column in rows.columns and offline.has(i)]
    tally.add_rows(rows, bool(known), [i.column for i in inputs if i not in known])
    if not known:
        return
    types = {i.column: ONNX_TYPES[i.kind] for i in known}
    trained = offline.features(rows, known)
    found = differing(types, rows, trained)
    for view in dict.fromkeys(str(i.view) for i in known):
        columns = [i.column for i in known if i.view == view]
        cells = Cells(view, offline.views[view].join_keys, rows, trained, {name: found[name] for name in columns})
        if cells.differ.any():
            cells = cells.explained(offline.events(view, rows), offline.newest(view))
        tally.add(cells)


def differing(types: Mapping[str, str], served: pl.DataFrame, trained: pl.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Return where both, made into the graph's inputs, are not the same bits: bool [N] a column; null is NaN or "".

    `types` maps each column to ONNX Runtime's name of its type.
    """
    ours, theirs = feed(types, served), feed(types, trained)
    return {name: _unequal(ours[name][:, 0], theirs[name][:, 0]) for name in types}


def _unequal(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.bool_]:
    if ours.dtype == object:
        return np.asarray(ours != theirs, dtype=bool)
    bits = {4: np.uint32, 8: np.uint64}[ours.itemsize]
    return (ours.view(bits) != theirs.view(bits)) & ~(np.isnan(ours) & np.isnan(theirs))
