"""How a version of a feature table was made: the raw versions and the SQL, kept with its commit to make it again.

Collecting both from what a dbt run leaves behind belongs here; running them is `ml/rebuild.py`'s part.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ml.dbt_manifest import Node, read_manifest, table_of
from ml.look_back import FEATURES_FOLDER, KEY
from ml.warehouse import read_view_statement

RAW = "raw"  # in the commit of features/<name>: {"raw/flights": version}
SQL = "sql"  # beside it: the rest of a Recipe


@dataclass(frozen=True)
class Recipe:
    """Raw versions by table, and SQL in the order in which it is run.

    `relations` names the relation that each raw table is in the SQL; `views` are the statements that define what the
    query reads; `look_back_months` are the raw months before its own that a month of the table is made from.
    """

    raw: Mapping[str, int]
    database: str
    schemas: tuple[str, ...]
    relations: Mapping[str, str]
    views: tuple[str, ...]
    query: str
    look_back_months: int

    def to_metadata(self) -> dict[str, Any]:
        """Return the recipe as entries of a commit's metadata."""
        rest = asdict(self)
        return {RAW: rest.pop("raw"), SQL: rest}


def recipe_of(metadata: Mapping[str, Any]) -> Recipe | None:
    """Return the recipe that a commit's metadata holds, None if it holds none."""
    if not metadata.get(RAW) or not metadata.get(SQL):
        return None
    rest: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in metadata[SQL].items()
    }
    return Recipe(raw=metadata[RAW], **rest)


def collect_recipe(
    manifest: Path, results: Mapping[str, Any], warehouse: Path, name: str, raw: Mapping[str, int]
) -> Recipe:
    """Return how a dbt run made the feature table `name`.

    Args:
        manifest: dbt's manifest.
        results: The run's results (run_results.json).
        warehouse: The DuckDB file it built in: views that the run did not make itself are read there.
        name: The table.
        raw: Version of each raw table that the run read, by name of the source.

    Raises LookupError if something that the table reads is neither raw nor a view.
    """
    content = read_manifest(manifest)
    compiled = {r["unique_id"]: r["compiled_code"] for r in results["results"] if r.get("compiled_code")}
    (model,) = (n for n in content["nodes"].values() if _is_table(n, name))
    upstream = list(dict.fromkeys(_upstream(model, content)))
    sources = [node for node in upstream if node.startswith("source.")]
    nodes = {unique_id: content["sources"][unique_id] for unique_id in sources}
    views = [content["nodes"][unique_id] for unique_id in upstream if unique_id not in nodes]
    return Recipe(
        raw={f"raw/{node['name']}": raw[node["name"]] for node in nodes.values()},
        database=model["database"],
        schemas=tuple(dict.fromkeys(node["schema"] for node in (*nodes.values(), *views))),
        relations={f"raw/{node['name']}": node["relation_name"] for node in nodes.values()},
        views=tuple(_statement(node, compiled, warehouse) for node in views),
        query=compiled[model["unique_id"]],
        look_back_months=model["config"]["meta"][KEY],
    )


def _is_table(node: Node, name: str) -> bool:
    return node["resource_type"] == "model" and FEATURES_FOLDER in node["fqn"] and table_of(node) == name


def _upstream(node: Node, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ids of the models and sources that a model reads, what they read before them."""
    for unique_id in node["depends_on"]["nodes"]:
        if unique_id in manifest["nodes"]:
            yield from _upstream(manifest["nodes"][unique_id], manifest)
        yield unique_id


def _statement(node: Node, compiled: Mapping[str, str], warehouse: Path) -> str:
    if node["unique_id"] in compiled:
        return f"create or replace view {node['relation_name']} as\n{compiled[node['unique_id']]}"
    statement = read_view_statement(warehouse, node["schema"], table_of(node))
    return re.sub(r"(?i)^create view", "create or replace view", statement)
