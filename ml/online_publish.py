"""From published tables to the online store: a rebuild in batch, and the events that came since.

Both go by knowledge time: what is online at an instant is what was known at it. Feast's own write path
(`ml.online_store`) packs the same rows; this one takes frames: a rebuild needs no Feast and not a second.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

import polars as pl

from ml.feature_views import FeatureView
from ml.online_rows import OnlineRow, OnlineRows
from ml.packed import entity_keys, layout_of
from ml.point_in_time import CREATED, EVENT, became_known, state_as_of


class Histories(Protocol):
    """Feature tables by name: what is published now (`ml.publication.Publications`), or fixed versions."""

    def read(self, name: str) -> pl.LazyFrame:
        """Return all versions of the rows of a table. Raises LookupError if there are none."""
        ...


def rebuild(
    views: Sequence[FeatureView], publications: Histories, online: OnlineRows, as_of: datetime
) -> dict[str, int]:
    """Make the online rows of each view that is served online each entity's state as known at `as_of`.

    Returns the rows written of each view; a view is replaced in one transaction, so readers never see a part.
    Raises LookupError if nothing of a view is published.
    """
    return {
        view.name: online.replace(
            view.name, packed_rows(view, state_as_of(read_history(view, publications), view.join_keys, as_of))
        )
        for view in views
        if view.online
    }


def push_until(
    views: Sequence[FeatureView],
    publications: Histories,
    online: OnlineRows,
    after: datetime,
    until: datetime,
) -> dict[str, int]:
    """Apply the versions that became known in (after, until] in the order in which they did.

    Returns the events of each view that changed something. Applying an interval again changes nothing. Raises
    ValueError if `until` lies before `after`: going back in time is a rebuild.
    """
    if until < after:
        raise ValueError(f"cannot push from {after} back to {until}; rebuild as of {until}")
    return {
        view.name: online.upsert(
            view.name, packed_rows(view, became_known(read_history(view, publications), after, until))
        )
        for view in views
        if view.online
    }


def packed_rows(view: FeatureView, frame: pl.DataFrame) -> Iterator[OnlineRow]:
    """Yield the packed form of each row of `frame` (join keys, both instants in UTC us, features) with no null key."""
    layout = layout_of(view.fields)
    keys = entity_keys({name: frame[name].to_list() for name in view.join_keys})
    values = frame.select([field.name for field in view.fields]).iter_rows()
    times = frame.select(pl.col(EVENT, CREATED).cast(pl.Int64)).iter_rows()
    for key, row, (event_us, created_us) in zip(keys, values, times, strict=True):
        if key is not None:
            yield OnlineRow(key, layout.pack(row, event_us, created_us))


def read_history(view: FeatureView, publications: Histories) -> pl.DataFrame:
    """Return all versions of a view's rows: join keys, both instants and features."""
    columns = [*view.join_keys, EVENT, CREATED, *[field.name for field in view.fields]]
    return publications.read(view.name).select(columns).collect()
