"""What a version of a feature view promises, taken from dbt's manifest, and how two such promises differ.

Columns in their order (online rows are packed in it), join keys, ttl, and the SQL that makes the rows: the model's,
that of the models upstream of it, and our macros. Comments and white space do not count. Keeping definitions is
`ml.view_log`'s part; whether a change is allowed is decided in checks/.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.dbt_manifest import Node, file_of, is_feature_view, read_manifest, table_of
from ml.feature_views import FeatureView, load_feature_views
from ml.fingerprint import json_hash


@dataclass(frozen=True)
class SqlPart:
    """A model or macro that a view's rows are made by: its name, file and the hash of its SQL."""

    name: str
    file: str
    sql: str


@dataclass(frozen=True)
class Definition:
    """One version of one view. `columns` are (name, kind), join keys first; `file` is where it is declared."""

    view: str
    version: int
    name: str
    file: str
    join_keys: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    ttl_seconds: float
    online: bool
    parts: tuple[SqlPart, ...]

    @property
    def rows(self) -> str:
        """Hash of what decides the rows: columns, keys and SQL. Not ttl and online, which are read at request time."""
        return json_hash([self.join_keys, self.columns, sorted((part.name, part.sql) for part in self.parts)])

    def to_json(self) -> str:
        """Return the definition as JSON text."""
        return json.dumps(dataclasses.asdict(self))


def parse_definition(text: str) -> Definition:
    """Read what `to_json` wrote."""
    data = json.loads(text)
    return Definition(
        **{
            **data,
            "join_keys": tuple(data["join_keys"]),
            "columns": tuple((name, kind) for name, kind in data["columns"]),
            "parts": tuple(SqlPart(**part) for part in data["parts"]),
        }
    )


def load_definitions(manifest: Path) -> dict[str, Definition]:
    """Return the definition of every view version that a dbt manifest declares, by name of its table.

    Raises what `load_feature_views` raises.
    """
    content = read_manifest(manifest)
    models = {table_of(node): node for node in content["nodes"].values() if is_feature_view(node)}
    return {view.name: _definition(view, models[view.name], content) for view in load_feature_views(manifest)}


@dataclass(frozen=True)
class Difference:
    """How a declared definition departs from a recorded one, in words, and by kind."""

    text: str
    kind: str  # "columns", "type", "serving" (ttl, online) or "sql"


def differences(recorded: Definition, declared: Definition) -> tuple[Difference, ...]:
    """Return what changed for those who read the view. Switching online serving on is no change to them."""
    return (*_column_differences(recorded, declared), *_other_differences(recorded, declared))


def _column_differences(recorded: Definition, declared: Definition) -> Iterator[Difference]:
    old, new = dict(recorded.columns), dict(declared.columns)
    added, removed = [name for name in new if name not in old], [name for name in old if name not in new]
    if removed:
        yield Difference(f"removed {_columns(removed)}", "columns")
    if added:
        yield Difference(f"added {_columns(added)}", "columns")
    for name in old:
        if name in new and new[name] != old[name]:
            yield Difference(f"column {name} is {new[name]}, was {old[name]}", "type")
    common = [name for name in old if name in new]
    if common != [name for name in new if name in old]:
        yield Difference("the columns stand in another order", "columns")
    if recorded.join_keys != declared.join_keys:
        yield Difference(f"join keys {list(declared.join_keys)}, were {list(recorded.join_keys)}", "columns")


def _other_differences(recorded: Definition, declared: Definition) -> Iterator[Difference]:
    if recorded.ttl_seconds != declared.ttl_seconds:
        yield Difference(
            f"ttl {format_duration(declared.ttl_seconds)}, was {format_duration(recorded.ttl_seconds)}", "serving"
        )
    if recorded.online and not declared.online:
        yield Difference("no longer online", "serving")
    yield from _sql_differences(recorded, declared)


def _sql_differences(recorded: Definition, declared: Definition) -> Iterator[Difference]:
    old = {part.name: part for part in recorded.parts}
    new = {part.name: part for part in declared.parts}
    for name in sorted({*old, *new}):
        if name not in new:
            yield Difference(f"its SQL no longer uses {name} ({old[name].file})", "sql")
        elif name not in old:
            yield Difference(f"its SQL uses {name} ({new[name].file}), which it did not", "sql")
        elif old[name].sql != new[name].sql:
            whose = "its SQL" if name == declared.name else f"the SQL of {name}"
            yield Difference(f"{whose} ({new[name].file})", "sql")


def plain_sql(text: str) -> str:
    """Return SQL with Jinja without comments and white space that means nothing; keywords in lower case."""
    from sqlglot.dialects.duckdb import DuckDB
    from sqlglot.errors import TokenError
    from sqlglot.tokens import TokenType

    own_case = (TokenType.VAR, TokenType.IDENTIFIER, TokenType.STRING)
    try:
        tokens = DuckDB().tokenize(text)
    except TokenError:  # Jinja may hold quotes that SQL cannot pair: there only white space is left out
        return " ".join(text.split())
    return " ".join(
        f"{token.token_type.name}:{token.text if token.token_type in own_case else token.text.lower()}"
        for token in tokens
    )


def format_duration(seconds: float) -> str:
    """Return a duration as `parse_ttl` reads it: 3d, 6h, 30m or 90s."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def _definition(view: FeatureView, model: Node, manifest: Mapping[str, Any]) -> Definition:
    keys = zip(view.join_keys, view.join_key_kinds, strict=True)
    return Definition(
        view=view.base,
        version=view.version,
        name=view.name,
        file=file_of(model),
        join_keys=view.join_keys,
        columns=(*keys, *((field.name, field.kind) for field in view.fields)),
        ttl_seconds=view.ttl.total_seconds(),
        online=view.online,
        parts=tuple(sorted(_parts(model, manifest), key=lambda part: part.name)),
    )


def _parts(model: Node, manifest: Mapping[str, Any]) -> Iterator[SqlPart]:
    """The model, all models upstream, and the macros of the same project that any of these use.

    Of a macro that differs by engine, what it is on every engine: a definition is the same wherever dbt builds.
    """
    project, waiting, seen = model["package_name"], [model], {model["unique_id"]}
    ours = {i: macro for i, macro in manifest["macros"].items() if macro["package_name"] == project}
    while waiting:
        node = waiting.pop()
        if node["resource_type"] == "macro":
            yield _part(f"macro {node['name']}", node, node["macro_sql"])
        else:
            # A seed has no SQL: its content stands for it.
            yield _part(table_of(node), node, node.get("raw_code") or node["checksum"]["checksum"])
        engines = (i for i, macro in ours.items() if macro["name"].endswith(f"__{node['name']}"))
        used = node["depends_on"]
        for unique_id in (*used.get("nodes", ()), *used.get("macros", ()), *engines):
            upstream = manifest["nodes"].get(unique_id) or manifest["macros"].get(unique_id)
            if upstream is not None and upstream["package_name"] == project and unique_id not in seen:
                seen.add(unique_id)
                waiting.append(upstream)


def _part(name: str, node: Node, sql: str) -> SqlPart:
    return SqlPart(name, node["original_file_path"], hashlib.sha256(plain_sql(sql).encode()).hexdigest())


def _columns(names: list[str]) -> str:
    return f"column{'s' * (len(names) > 1)} {', '.join(names)}"
