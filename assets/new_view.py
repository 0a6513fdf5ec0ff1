"""The two files of a new feature view: the SQL of its table, and the YAML that declares it beside.

Written from the columns of the staging model or raw table that it reads; what these cannot tell is to be filled in.
"""

from collections.abc import Mapping, Sequence

import polars as pl

from assets.new_feature import FOLDER
from assets.new_files import FILL_IN, GUESS, Draft, require_name
from assets.resources import Platform
from checks.suite import feature_tables
from ml.dbt_manifest import read_manifest, table_of
from ml.feature_views import BOOKKEEPING, kind_of_type
from ml.source import Source

_TYPES = {"float": "double", "int": "bigint", "string": "varchar", "bool": "boolean"}
_TIMES = {
    "event_timestamp": ("When the row became known (UTC).", "timestamp with time zone"),
    "created_timestamp": ("When this version of the row became known (UTC).", "timestamp with time zone"),
    "partition_key": ("Month of event_timestamp in UTC.", "varchar"),
}


def new_view(platform: Platform, sources: Sequence[Source], view: str, entity: str, read: str, name: str = "") -> Draft:
    """Return the files of a feature view on `read`, a staging model or a raw table, of `entity` ("station:station_id").

    Its features are all that `read` has, or the column `name` alone. Several entities stand apart by commas. Raises
    ValueError if the view exists or an entity is none of its columns, LookupError if there is nothing like `read`.
    """
    require_name(view, "feature view")
    if view in feature_tables(platform.manifest):
        raise ValueError(
            f"a feature view {view!r} exists ({FOLDER}/{view}.sql); leave ENTITY out to add a column to it"
        )
    relation, columns, monthly = readable(platform, sources, read)
    keys = keys_of(entity, read, columns)
    features = [name] if name else [c for c in columns if c not in (*keys.values(), *BOOKKEEPING)]
    if not features or not set(features) <= set(columns):
        raise ValueError(f"{read!r} has no column {name!r} to take as a feature; it has {sorted(columns)}")
    chosen = {column: columns[column] for column in (*keys.values(), *features)}
    return Draft(
        {
            f"{FOLDER}/{view}.sql": _sql(relation, chosen, monthly),
            f"{FOLDER}/{view}.yml": _yml(view, read, keys, chosen, 1 if monthly else 0),
        },
        root=platform.dbt_project.parent,
    )


def keys_of(entity: str, read: str, columns: Mapping[str, str]) -> dict[str, str]:
    """Return the column of each entity's key, by "entity:column, entity:column"; a column alone is both.

    Raises ValueError if one is none of the `columns` of `read`, by name with their types, that can be a key.
    """
    entities = dict(part.strip().partition(":")[::2] for part in entity.split(",") if part.strip())
    keys = {entity: key or entity for entity, key in entities.items()}
    wrong = sorted(key for key in keys.values() if columns.get(key) not in ("varchar", "bigint"))
    if wrong or not keys:
        raise ValueError(
            f"ENTITY names the entity and the column of its key, such as station:station_id; {read!r} has no column "
            f"of text or whole numbers {wrong or entity!r}: it has {dict(columns)}"
        )
    return keys


def readable(platform: Platform, sources: Sequence[Source], read: str) -> tuple[str, dict[str, str], bool]:
    """Return how SQL names `read`, its columns that can be keys or features with their types, whether it has months.

    Raises LookupError with the tables that can be read if there is none like `read`.
    """
    manifest = read_manifest(platform.manifest)
    entries = {node["name"]: node["source_name"] for node in manifest["sources"].values()}
    for source in sources:
        if source.name == read and read in entries:
            relation = f"{{{{ source('{entries[read]}', '{read}') }}}}"
            return relation, _kept({c: _duckdb(t) for c, t in source.schema.items()}), source.partition is not None
    nodes = [n for n in manifest["nodes"].values() if n["resource_type"] == "model" and "staging" in n["fqn"]]
    for node in nodes:
        if table_of(node) == read:
            declared = {c: d.get("data_type") for c, d in node["columns"].items()}
            return f"{{{{ ref('{read}') }}}}", _kept(declared), "partition_key" in declared
    staging, raw = sorted(map(table_of, nodes)), sorted(s.name for s in sources if s.name in entries)
    raise LookupError(f"FROM={read}: no such table; a view reads a staging model {staging} or a raw table {raw}")


def _kept(columns: Mapping[str, str | None]) -> dict[str, str]:
    kinds = {column: kind_of_type(kind) for column, kind in columns.items() if column not in BOOKKEEPING}
    return {column: _TYPES[kind] for column, kind in kinds.items() if kind in _TYPES}


def _duckdb(dtype: pl.DataType) -> str | None:
    if dtype.is_integer():
        return "bigint"
    return "double" if dtype.is_float() else {pl.String: "varchar", pl.Boolean: "boolean"}.get(dtype.base_type())


def _sql(relation: str, columns: Mapping[str, str], monthly: bool) -> str:
    lines = "".join(f"    cast({c} as {t}) as {c},\n" for c, t in columns.items())
    months = "{{ in_raw_months() }} and " if monthly else ""
    return (
        f"-- {FILL_IN}: what a row is. Nothing in it may be known later than its event_timestamp.\n"
        f"select\n{lines}    event_timestamp,\n    created_timestamp,\n"
        "    {{ month_of('event_timestamp') }} as partition_key\n"
        f"from {relation}\nwhere {months}{{{{ in_months(month_of('event_timestamp')) }}}}\n"
    )


def _yml(view: str, read: str, keys: Mapping[str, str], columns: Mapping[str, str], months: int) -> str:
    row = ", ".join(f"{c}: {c}" for c in (*keys.values(), "event_timestamp", "created_timestamp"))
    told = {column: (f"{FILL_IN}: what it is, with its unit.", kind) for column, kind in columns.items()} | _TIMES
    return f"""version: 2

models:
  - name: {view}
    description: "{FILL_IN}: what a row is, and when it is known."
    config:
      meta:
        look_back_months: {months} # {GUESS}: raw months before its own that the SQL reads
        feature_view:
          entities: {{{", ".join(f"{entity}: {key}" for entity, key in keys.items())}}}
          ttl: 30d # {GUESS}: how long a row stays true
          owner: "team:fill-in" # {FILL_IN}: an e-mail address, or team:<name>
          online: true
    data_tests:
      - one_row_each:
          name: {view}_rows
          description: A row for each row that it is built from.
          arguments:
            of: {read}
            key: {{{row}}}
      - holds:
          name: {view}_conditions
          description: Conditions on each row, by name.
          arguments:
            conditions:
              within_its_month: "partition_key = strftime(event_timestamp at time zone 'UTC', '%Y-%m')"
              known_after_event: "created_timestamp >= event_timestamp"
    columns:
""" + "".join(
        f'      - name: {column}\n        description: "{text}"\n        data_type: {kind}\n'
        for column, (text, kind) in told.items()
    )
