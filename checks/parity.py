"""Whether served and trained features are the same numbers: the online store against the offline one, bit for bit.

An online store of the check's own is brought to moments of the past and read by the router's reader; Feast answers
the same rows offline. What is asked for is drawn in `parity_sample`; values are compared in `parity_comparison`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl

from checks.outcome import Outcome
from checks.parity_comparison import Comparison
from ml.feature_store import historical_features
from ml.feature_views import FeatureView
from ml.online_publish import push_until, rebuild
from ml.online_rows import OnlineStoreError, open_online_rows
from serving.build_plan import plan_view
from serving.online_features import OnlineFeatures, ViewRows
from serving.plan import MAX_BATCH

if TYPE_CHECKING:
    import feast

CHECK = "parity"

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
    comparison = Comparison(views)
    served = ServedFeatures(views, histories, online, lead)
    for moment, reads in zip(moments, served.at(moments, entities), strict=True):
        comparison.add(moment, entities, reads, trained_features(views, store, moment, entities))
    return comparison.outcome()


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
