"""Whether served and trained features are the same numbers: the online store against the offline one, bit for bit.

An online store of the check's own is brought to moments of the past and read by the router's reader; Feast answers
the same rows offline. What is asked for is drawn in `checks/parity_sample.py`.
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from checks.outcome import Outcome
from ml.feature_store import historical_features
from ml.feature_views import FeatureView
from ml.online_publish import push_until, rebuild
from ml.online_rows import OnlineStoreError, open_online_rows
from ml.packed import Kind, Value
from serving.build_plan import plan_view
from serving.online_features import OnlineFeatures, ViewRows
from serving.plan import MAX_BATCH

if TYPE_CHECKING:
    import feast

CHECK = "parity"
WORST_ROWS = 20

_TYPES: Mapping[Kind, type[pl.DataType]] = {
    "float": pl.Float64,
    "int": pl.Int64,
    "string": pl.String,
    "bool": pl.Boolean,
}
_DEADLINE_S = 60.0  # of one read: this is about values; latency is promised and measured elsewhere


@dataclass(frozen=True)
class FixedTables:
    """Fixed versions of feature tables, by name."""

    tables: Mapping[str, pl.LazyFrame]

    def read(self, name: str) -> pl.LazyFrame:
        """Return a table's rows."""
        return self.tables[name]


def check_parity(
    views: Sequence[FeatureView],
    histories: Mapping[str, pl.LazyFrame],
    store: "feast.FeatureStore",
    online: str,
    moments: Sequence[datetime],
    entities: pl.DataFrame,
    lead: timedelta | None = None,
) -> Outcome:
    """Compare every feature of every entity row at every moment, as it is served with as it is trained on.

    Args:
        views: The views, all of them online.
        histories: The published versions of each view's rows, by its name.
        store: Feast over the same versions.
        online: Address of an online store that is the check's own: its rows of the views are replaced.
        moments: Instants in ascending order.
        entities: [entities, join keys of all views].
        lead: How long before each moment events are pushed, to a store rebuilt as of then. None: the store is
            rebuilt as of the first moment and all events after it are pushed.

    Returns:
        A failure names the first difference, by moment and view, with both values.
    """
    parity = Parity(views)
    served = ServedFeatures(views, histories, online, lead)
    for moment, reads in zip(moments, served.at(moments, entities), strict=True):
        parity.add(moment, entities, reads, trained_features(views, store, moment, entities))
    return parity.outcome()


@dataclass(frozen=True)
class ServedFeatures:
    """The online side: a store moved through time by its events, and the router's own reader."""

    views: Sequence[FeatureView]
    histories: Mapping[str, pl.LazyFrame]
    address: str
    lead: timedelta | None = None

    def at(self, moments: Sequence[datetime], entities: pl.DataFrame) -> Iterator[list[dict[str, ViewRows]]]:
        """Yield what the router would read at each moment, a batch of its largest size at a time."""
        reader = OnlineFeatures(self.address, [plan_view(view.name, self.views) for view in self.views])
        try:
            before = None
            for moment in moments:
                self._move(before, moment)
                yield [_read(reader, part, moment) for part in entities.iter_slices(MAX_BATCH)]
                before = moment
        finally:
            reader.close()

    def _move(self, before: datetime | None, now: datetime) -> None:
        tables, rows = FixedTables(self.histories), open_online_rows(self.address)
        if self.lead is not None or before is None:
            before = now - (self.lead or timedelta(0))
            rebuild(self.views, tables, rows, before)
        push_until(self.views, tables, rows, before, now)
        rows.close()


def _read(reader: OnlineFeatures, entities: pl.DataFrame, now: datetime) -> dict[str, ViewRows]:
    keys = {name: entities[name].to_list() for name in entities.columns}
    reads = reader.read(keys, now, time.perf_counter() + _DEADLINE_S)
    if any("not_read" in rows.status for rows in reads.values()):
        raise OnlineStoreError(f"the check's online store was not read within {_DEADLINE_S:g} s; run the check again")
    return reads


def trained_features(
    views: Sequence[FeatureView], store: "feast.FeatureStore", moment: datetime, entities: pl.DataFrame
) -> pl.DataFrame:
    """Return [entities, join keys + event_timestamp + view__feature]: what a training row of that moment holds."""
    asked = entities.with_columns(event_timestamp=pl.lit(moment).cast(pl.Datetime("us", "UTC")))
    return historical_features(store, asked, [f"{view.name}:{field.name}" for view in views for field in view.fields])


@dataclass
class Parity:
    """The comparison so far."""

    views: Sequence[FeatureView]
    moments: list[datetime] = field(default_factory=list)
    entities: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    worst: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self, moment: datetime, entities: pl.DataFrame, served: Sequence[dict[str, ViewRows]], trained: pl.DataFrame
    ) -> None:
        """Compare one moment: what was served, in batches, and the offline row of each entity."""
        self.moments.append(moment)
        self.entities += entities.height
        for view in self.views:
            counts = self.counts.setdefault(view.name, Counter())
            reads = [batch[view.name] for batch in served]
            statuses = [status for read in reads for status in read.status]
            counts.update(statuses)
            counts["cells"] += len(statuses) * len(view.fields)
            for place, (name, kind) in enumerate(view.fields):
                online = [value for read in reads for value in read.values[place]]
                offline = trained[f"{view.name}__{name}"]
                for row in differing(online, offline, kind):
                    counts["differ"] += 1
                    if len(self.worst) < WORST_ROWS:
                        self.worst.append(
                            {
                                "moment": moment.isoformat(),
                                "view": view.name,
                                "column": name,
                                "entity": _named(entities, view, row),
                                "online": shown(online[row]),
                                "offline": shown(offline[row]),
                                "online status": statuses[row],
                            }
                        )

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
        asked = f"{total['cells']} cells ({self.entities} entity rows, {len(self.moments)} moments)"
        if not total["cells"]:
            return Outcome(False, "nothing was compared; give views, moments and entities", evidence)
        if not total["differ"]:
            return Outcome(True, f"online and offline hold the same bits in {asked}", evidence, self._by_view())
        first = self.worst[0]
        summary = (
            f"{first['view']}.{first['column']} of {first['entity']} at {first['moment']}: online {first['online']} "
            f"({first['online status']}), offline {first['offline']}; {total['differ']} of {asked} differ"
        )
        return Outcome(False, summary, {**evidence, "first": first, "worst": self.worst}, tuple(self.worst))

    def _by_view(self) -> tuple[dict[str, Any], ...]:
        named = {"present": "present", "expired": "outside_max_age", "not found": "not_found", "cells": "cells"}
        return tuple(
            {"view": name, **{title: counts[key] for title, key in named.items()}, "mismatches": counts["differ"]}
            for name, counts in self.counts.items()
        )


def differing(online: Sequence[Value], offline: pl.Series, kind: Kind) -> list[int]:
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


def _named(entities: pl.DataFrame, view: FeatureView, row: int) -> str:
    return ", ".join(f"{key}={entities[key][row]!r}" for key in view.join_keys)
