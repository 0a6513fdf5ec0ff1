"""Feast's online store on `ml.online_rows`: packed rows in SQLite or Redis, through Feast's API.

Named in Feast's configuration as `ml.online_store.PackedOnlineStore`. Values older than their view's ttl,
by the clock of the configuration, are missing here as they are offline (Feast's own stores ignore ttl).
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from feast import Entity, FeatureView
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.types import Bool, Float64, Int64, String

from ml.clock import open_clock
from ml.online_rows import OnlineRow, OnlineRows, open_online_rows, read
from ml.packed import Field, Kind, entity_key, layout_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS: dict[Any, Kind] = {Float64: "float", Int64: "int", String: "string", Bool: "bool"}
_SLOTS = {"float": "double_val", "int": "int64_val", "string": "string_val", "bool": "bool_val"}

WriteRow = tuple[EntityKey, dict[str, Value], datetime, datetime | None]


class PackedOnlineStoreConfig(FeastConfigBaseModel):
    """The address of the store (`ml.online_rows`), and the clock file that exists while time is replayed."""

    type: Literal["ml.online_store.PackedOnlineStore"] = "ml.online_store.PackedOnlineStore"
    address: str
    clock_file: str


class PackedOnlineStore(OnlineStore):
    """One packed row an entity and view; a late, older event never overwrites a newer one."""

    def __init__(self) -> None:
        self._rows: OnlineRows | None = None

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[WriteRow],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows of (entity key, values, event, created or None for the event) in one transaction.

        Raises ValueError naming view and field for a value of another kind, OnlineStoreError if the store is down.
        """
        fields = packed_fields(table)
        self._open(config).upsert(table.name, [_packed(fields, *row) for row in data])
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Return (event, values) of each entity in order; (None, None) where there is none within the ttl."""
        fields = packed_fields(table)
        now = open_clock(Path(config.online_store.clock_file)).now()
        rows = read(self._open(config), table.name, [_key(key) for key in entity_keys])
        return [_values(fields, row, requested_features, now, table.ttl) for row in rows]

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Drop the rows of views that are gone."""
        self._open(config).delete([view.name for view in tables_to_delete])

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Drop the rows of `tables`."""
        self._open(config).delete([view.name for view in tables])

    def _open(self, config: RepoConfig) -> OnlineRows:
        if self._rows is None:
            self._rows = open_online_rows(config.online_store.address)
        return self._rows


def packed_fields(view: FeatureView) -> tuple[Field, ...]:
    """Return the layout of a view's packed rows. Raises NotImplementedError for a type they cannot hold."""
    for feature in view.features:
        if feature.dtype not in _KINDS:
            raise NotImplementedError(
                f"feature {view.name}:{feature.name} is {feature.dtype}; online rows hold {list(_KINDS)}"
            )
    return tuple(Field(feature.name, _KINDS[feature.dtype]) for feature in view.features)


def _packed(
    fields: Sequence[Field],
    key: EntityKey,
    values: dict[str, Value],
    event: datetime,
    created: datetime | None,
) -> OnlineRow:
    event_us = _microseconds(event)
    created_us = event_us if created is None else _microseconds(created)
    plain = [_python(values.get(field.name)) for field in fields]
    return OnlineRow(_key(key), layout_of(fields).pack(plain, event_us, created_us))


def _values(
    fields: Sequence[Field],
    row: bytes | None,
    requested: list[str] | None,
    now: datetime,
    ttl: timedelta | None,
) -> tuple[datetime | None, dict[str, Value] | None]:
    if row is None:
        return None, None
    values, event_us, _ = layout_of(fields).unpack(row)
    event = _EPOCH + timedelta(microseconds=event_us)
    if ttl and now - event > ttl:
        return None, None
    return event, {
        field.name: _value(field.kind, value)
        for field, value in zip(fields, values, strict=True)
        if requested is None or field.name in requested
    }


def _value(kind: Kind, value: Any) -> Value:
    slot: dict[str, Any] = {} if value is None else {_SLOTS[kind]: value}
    return Value(**slot)


def _key(key: EntityKey) -> str:
    return entity_key({name: _python(value) for name, value in zip(key.join_keys, key.entity_values, strict=True)})


def _python(value: Value | None) -> Any:
    slot = None if value is None else value.WhichOneof("val")
    return None if slot is None else getattr(value, slot)


def _microseconds(moment: datetime) -> int:
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (aware - _EPOCH) // timedelta(microseconds=1)
