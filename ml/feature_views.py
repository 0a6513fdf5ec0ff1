"""Feature views as dbt declares them, read from its manifest: the one source of truth for every store.

A dbt model is a feature view if its `config.meta` has a `feature_view` with entities (each with the column
that holds its join key), ttl, owner and online. No Feast here: what only needs names, keys and kinds stays light.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from ml import remedies
from ml.dbt_manifest import Node, file_of, is_feature_view, read_manifest, table_of
from ml.packed import Field, Kind

TIME_COLUMNS = ("event_timestamp", "created_timestamp")
BOOKKEEPING = (*TIME_COLUMNS, "partition_key")

_KINDS: Mapping[str, Kind] = {
    "double": "float",
    "float": "float",
    "real": "float",
    "bigint": "int",
    "integer": "int",
    "smallint": "int",
    "varchar": "string",
    "text": "string",
    "boolean": "bool",
}
_INSTANTS = ("timestamp with time zone", "timestamptz")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_META: Mapping[str, type] = {"entities": dict, "ttl": str, "owner": str, "online": bool}


@dataclass(frozen=True)
class FeatureView:
    """One feature table: whose features, valid for how long, owned by whom; `fields` in its order.

    `entities` are named in the order of their `join_keys`; several make a composite key. Each version of
    a view is a feature view of its own: version 2 of aircraft_state has the name aircraft_state_v2.
    """

    name: str
    entities: tuple[str, ...]
    join_keys: tuple[str, ...]
    join_key_kinds: tuple[Kind, ...]
    ttl: timedelta
    owner: str
    online: bool
    description: str
    fields: tuple[Field, ...]
    version: int = 1

    @property
    def base(self) -> str:
        """The name that all versions share."""
        return self.name if self.version == 1 else self.name.removesuffix(f"_v{self.version}")


def load_feature_views(manifest: Path) -> tuple[FeatureView, ...]:
    """Return the feature views of a dbt manifest, by name.

    Raises LookupError if there is no manifest, and ValueError with file and field if a view is wrong.
    """
    models = [node for node in read_manifest(manifest)["nodes"].values() if is_feature_view(node)]
    return tuple(sorted((_view(model) for model in models), key=lambda view: view.name))


def require_features(model: str, references: Iterable[str], views: Iterable[FeatureView]) -> None:
    """Raise LookupError with the remedy if a model reads a view or a feature (view:feature) that is not declared."""
    known = {view.name: [field.name for field in view.fields] for view in views}
    for view, _, feature in (reference.partition(":") for reference in references):
        if view not in known:
            raise LookupError(
                f"model {model!r} reads feature view {view!r}, which dbt does not declare; it has {sorted(known)}: "
                f"correct the model's spec, or declare the view and {remedies.declare()}"
            )
        if feature not in known[view]:
            raise LookupError(
                f"model {model!r} reads {feature!r} of feature view {view!r}, which has {known[view]}: correct the "
                f"model's spec, or declare a version of the view with it and {remedies.declare()}"
            )


def parse_ttl(text: str) -> timedelta:
    """Return the duration that "90s", "30m", "6h" or "3d" names. Raises ValueError on anything else."""
    match = re.fullmatch(r"(\d+)([smhd])", text)
    if match is None or int(match[1]) == 0:
        raise ValueError(f"ttl {text!r} is not a duration such as 90s, 30m, 6h or 3d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def kind_of_type(data_type: str | None) -> str | None:
    """Return the kind of a column by the type that dbt's YAML gives it: a field's, "instant", None for any other."""
    name = (data_type or "").lower()
    return "instant" if name in _INSTANTS else _KINDS.get(name)


def _view(model: Node) -> FeatureView:
    file = file_of(model)
    _refuse_undescribed(model, file)
    meta = _meta(model["config"]["meta"]["feature_view"], file)
    columns = model["columns"]
    join_keys = tuple(meta["entities"].values())
    for required in (*join_keys, *TIME_COLUMNS):
        if required not in columns:
            raise ValueError(f"{file}: feature view {model['name']!r} has no column {required!r}; declare it")
    for column in TIME_COLUMNS:
        if _type(columns[column]) not in _INSTANTS:
            found = columns[column].get("data_type")
            raise ValueError(f"{file}: column {column!r} must have data_type {_INSTANTS[0]!r}, not {found!r}")
    names = [name for name in columns if name not in (*join_keys, *BOOKKEEPING)]
    if not names:
        raise ValueError(f"{file}: feature view {model['name']!r} has no feature columns; declare at least one")
    return FeatureView(
        name=table_of(model),
        entities=tuple(meta["entities"]),
        join_keys=join_keys,
        join_key_kinds=tuple(_key_kind(columns[key], file) for key in join_keys),
        ttl=meta["ttl"],
        owner=meta["owner"],
        online=meta["online"],
        description=model["description"],
        fields=tuple(Field(name, _kind(columns[name], file)) for name in names),
        version=_version(model, file),
    )


def _version(model: Node, file: str) -> int:
    version = 1 if model.get("version") is None else model["version"]
    if not isinstance(version, int) or version < 1:
        raise ValueError(f"{file}: versions.v of feature view {model['name']!r} is {version!r}; it is 1, 2, 3, ...")
    expected = model["name"] if version == 1 else f"{model['name']}_v{version}"
    if table_of(model) != expected:
        raise ValueError(
            f"{file}: version {version} of feature view {model['name']!r} has the alias {table_of(model)!r}; "
            f"its table is {expected}: leave the alias out"
        )
    return version


def _refuse_undescribed(model: Node, file: str) -> None:
    if not model.get("description", "").strip():
        raise ValueError(f"{file}: description of feature view {model['name']!r} is empty; say what a row of it is")
    for name, column in model["columns"].items():
        if not column.get("description", "").strip():
            raise ValueError(f"{file}: description of column {name!r} is empty; say what it is, with its unit")


def _meta(meta: Any, file: str) -> dict[str, Any]:
    if not isinstance(meta, dict):
        raise ValueError(f"{file}: config.meta.feature_view must be a mapping with {sorted(_META)}")
    unknown = sorted(set(meta) - set(_META))
    if unknown:
        raise ValueError(f"{file}: config.meta.feature_view does not know {unknown}; it has {sorted(_META)}")
    for field, kind in _META.items():
        if not isinstance(meta.get(field), kind) or (kind is not bool and not meta[field]):
            raise ValueError(
                f"{file}: config.meta.feature_view.{field} must be a {kind.__name__}, not {meta.get(field)!r}"
            )
    keys = list(meta["entities"].values())
    if not all(isinstance(key, str) for key in keys) or len(set(keys)) != len(keys):
        raise ValueError(
            f"{file}: config.meta.feature_view.entities must give each entity the column of its join key, "
            f"such as {{aircraft: tailnum}}, not {meta['entities']!r}"
        )
    try:
        return {**meta, "ttl": parse_ttl(meta["ttl"])}
    except ValueError as error:
        raise ValueError(f"{file}: config.meta.feature_view.ttl: {error}") from error


def _type(column: Mapping[str, Any]) -> str:
    return (column.get("data_type") or "").lower()


def _kind(column: Mapping[str, Any], file: str) -> Kind:
    if _type(column) not in _KINDS:
        raise ValueError(
            f"{file}: column {column['name']!r} has data_type {column.get('data_type')!r}; "
            f"keys and features have one of {sorted(_KINDS)}"
        )
    return _KINDS[_type(column)]


def _key_kind(column: Mapping[str, Any], file: str) -> Kind:
    kind = _kind(column, file)
    if kind not in ("string", "int"):
        raise ValueError(
            f"{file}: join key {column['name']!r} is {column['data_type']}; a key is a varchar or a bigint"
        )
    return kind
