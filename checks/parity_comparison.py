"""What was served beside what was trained on, value by value and bit by bit: counts, and the first differences."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from checks.outcome import Outcome
from ml.feature_views import FeatureView
from ml.packed import Kind, Value
from serving.online_features import ViewRows

WORST_ROWS = 20

_TYPES: Mapping[Kind, type[pl.DataType]] = {
    "float": pl.Float64,
    "int": pl.Int64,
    "string": pl.String,
    "bool": pl.Boolean,
}
_SHOWN = {"present": "present", "expired": "outside_max_age", "not found": "not_found", "cells": "cells"}


@dataclass
class Comparison:
    """The moments compared so far."""

    views: Sequence[FeatureView]
    moments: list[datetime] = field(default_factory=list)
    entities: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    worst: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self, moment: datetime, entities: pl.DataFrame, served: Sequence[dict[str, ViewRows]], trained: pl.DataFrame
    ) -> None:
        """Compare one moment.

        Args:
            moment: The instant.
            entities: [entities, join keys].
            served: The reads of each view by name, in batches that together are the entities in their order.
            trained: [entities, view__feature].
        """
        self.moments.append(moment)
        self.entities += entities.height
        if entities.is_empty():
            return
        for view in self.views:
            self._add_view(view, entities, _joined([batch[view.name] for batch in served]), trained)

    def _add_view(self, view: FeatureView, entities: pl.DataFrame, served: ViewRows, trained: pl.DataFrame) -> None:
        counts = self.counts.setdefault(view.name, Counter())
        counts.update(served.status)
        counts["cells"] += entities.height * len(view.fields)
        for (name, kind), online in zip(view.fields, served.values, strict=True):
            offline = trained[f"{view.name}__{name}"]
            found = differing(online, offline, kind)
            counts["differ"] += len(found)
            self.worst += [
                {
                    "moment": self.moments[-1].isoformat(),
                    "view": view.name,
                    "column": name,
                    "entity": ", ".join(f"{key}={entities[key][row]!r}" for key in view.join_keys),
                    "online": shown(online[row]),
                    "offline": shown(offline[row]),
                    "online status": served.status[row],
                }
                for row in found[: WORST_ROWS - len(self.worst)]
            ]

    def outcome(self) -> Outcome:
        """Return the verdict with its evidence."""
        total: Counter[str] = sum(self.counts.values(), Counter())
        evidence: dict[str, Any] = {
            "moments": [moment.isoformat() for moment in self.moments],
            "entities": self.entities,
            "cells": total["cells"],
            "mismatches": total["differ"],
            "views": {name: dict(counts) for name, counts in self.counts.items()},
        }
        asked = f"{total['cells']:,} cells ({self.entities:,} entity rows, {len(self.moments)} moments)"
        if not total["cells"]:
            return Outcome(False, "nothing was compared; give views, moments and entities", evidence)
        if not total["differ"]:
            return Outcome(True, f"online and offline hold the same bits in {asked}", evidence, self._by_view())
        first = self.worst[0]
        summary = (
            f"{first['view']}.{first['column']} of {first['entity']} at {first['moment']}: online {first['online']} "
            f"({first['online status']}), offline {first['offline']}; {total['differ']:,} of {asked} differ"
        )
        return Outcome(False, summary, {**evidence, "first": first, "worst": self.worst}, tuple(self.worst))

    def _by_view(self) -> tuple[dict[str, Any], ...]:
        return tuple(
            {"view": name, **{title: counts[key] for title, key in _SHOWN.items()}, "mismatches": counts["differ"]}
            for name, counts in self.counts.items()
        )


def _joined(batches: Sequence[ViewRows]) -> ViewRows:
    columns = zip(*(batch.values for batch in batches), strict=True)
    return ViewRows(
        [[value for part in column for value in part] for column in columns],
        [event for batch in batches for event in batch.event_us],
        [status for batch in batches for status in batch.status],
    )


def differing(online: Sequence[Value] | pl.Series, offline: pl.Series, kind: Kind) -> list[int]:
    """Return the places at which two columns are not the same bits; null is the same as null only.

    Raises ValueError if the offline column does not hold values of that kind.
    """
    if offline.dtype != _TYPES[kind]:
        raise ValueError(f"offline column {offline.name!r} is {offline.dtype}, not {kind}; build its table again")
    served = pl.Series(offline.name, online, dtype=_TYPES[kind], strict=True)
    unequal = served.is_null() != offline.is_null()
    if kind == "float":
        ours, theirs = (column.fill_null(0.0).to_numpy().view(np.int64) for column in (served, offline))
        unequal |= pl.Series(ours != theirs)
    else:
        unequal |= (served != offline).fill_null(False)
    return unequal.arg_true().to_list()


def shown(value: Value) -> str:
    """Return a value as text; a float with its bits, since two that differ may print the same (NaN)."""
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value!r} ({np.float64(value).view(np.uint64):#018x})"
    return repr(value)
