"""Events of one view into the online store as they become known: each must keep the row-level contract.

Bad rows are refused with their reason and the good ones applied; nothing is lost in silence. Whole published
tables, audited already, go through `ml.online_publish`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ml.feature_views import TIME_COLUMNS, FeatureView
from ml.online_rows import OnlineRow, OnlineRows
from ml.packed import Kind, entity_keys, layout_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TYPES: dict[Kind, tuple[type, ...]] = {"float": (float, int), "int": (int,), "string": (str,), "bool": (bool,)}


@dataclass(frozen=True)
class Refused:
    """An event that was not applied: its place among those given, why, and the event itself."""

    place: int
    reason: str
    event: Mapping[str, Any]


@dataclass(frozen=True)
class Pushed:
    """What became of the events: `received` = `applied` + `unchanged` + the refused.

    `unchanged` events are kept by the contract but say nothing new: older than what is there, or repeated.
    """

    view: str
    received: int
    applied: int
    unchanged: int
    refused: tuple[Refused, ...]


def push(view: FeatureView, events: Iterable[Mapping[str, Any]], online: OnlineRows, now: datetime) -> Pushed:
    """Apply events, in the order in which they became known, in one transaction.

    An event has the view's join keys, `event_timestamp`, `created_timestamp` and every feature, by name (null:
    None), and nothing else. It is refused if a column is missing or unknown, a value is of another kind, a join
    key is null, or an instant has no time zone or lies after `now`. Raises ValueError if the view is not online
    and OnlineStoreError if the store is down: nothing is applied then.
    """
    if not view.online:
        raise ValueError(f"feature view {view.name!r} is not online; set `online: true` in its dbt model's config.meta")
    contract = _Contract(view, now)
    kept: list[Mapping[str, Any]] = []
    rows: list[bytes] = []
    refused: list[Refused] = []
    for place, event in enumerate(events):
        try:
            rows.append(contract.packed(event))
            kept.append(event)
        except ValueError as error:
            refused.append(Refused(place, str(error), event))
    keys: list[Any] = entity_keys({name: [event[name] for event in kept] for name in view.join_keys})
    applied = online.upsert(view.name, map(OnlineRow, keys, rows))
    return Pushed(view.name, len(rows) + len(refused), applied, len(rows) - applied, tuple(refused))


class _Contract:
    """What an event of a view must be, and its packed row."""

    def __init__(self, view: FeatureView, now: datetime) -> None:
        self._layout = layout_of(view.fields)
        self._features = [field.name for field in view.fields]
        self._now_us = (now - _EPOCH) // _MICROSECOND
        keys = dict(zip(view.join_keys, view.join_key_kinds, strict=True))
        self._kinds: dict[str, Kind] = {**keys, **{field.name: field.kind for field in view.fields}}
        self._text_keys = [name for name, kind in keys.items() if kind == "string"]
        self._columns = {*self._kinds, *TIME_COLUMNS}
        # The exact types that nearly all values have; the others are looked at one by one.
        usual = {name: {*_TYPES[kind]} for name, kind in self._kinds.items()}
        self._usual = [(name, types if name in keys else types | {type(None)}) for name, types in usual.items()]

    def packed(self, event: Mapping[str, Any]) -> bytes:
        """Return the event's row. Raises ValueError naming the column that breaks the contract."""
        if event.keys() != self._columns:
            missing, unknown = sorted(self._columns - event.keys()), sorted(event.keys() - self._columns)
            raise ValueError(f"the event lacks columns {missing} and has unknown {unknown}")
        for name, types in self._usual:
            if type(event[name]) not in types:
                self._require_kind(name, event[name])
        for name in self._text_keys:
            event[name].encode()  # a text that is not Unicode is refused here, not by the store
        event_time, created_time = event["event_timestamp"], event["created_timestamp"]
        event_us = self._instant("event_timestamp", event_time)
        created_us = event_us if created_time is event_time else self._instant("created_timestamp", created_time)
        return self._layout.pack([event[name] for name in self._features], event_us, created_us)

    def _instant(self, name: str, value: Any) -> int:
        if not isinstance(value, datetime):
            raise ValueError(f"{name} is {value!r}, not an instant")
        if value.tzinfo is None:
            raise ValueError(f"{name} {value} has no time zone; give an instant such as 2013-10-01T00:00:00+00:00")
        instant = (value - _EPOCH) // _MICROSECOND
        if instant > self._now_us:
            raise ValueError(f"{name} {value} lies after the clock's {_EPOCH + self._now_us * _MICROSECOND}")
        return instant

    def _require_kind(self, name: str, value: Any) -> None:
        kind = self._kinds[name]
        if value is None:
            raise ValueError(f"join key {name!r} is null")
        if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
            raise ValueError(f"column {name!r} is {value!r} ({type(value).__name__}); it holds a {kind}")
