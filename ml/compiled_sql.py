"""The SQL behind columns, as a graph: of a version that was built (its recipe), or of what dbt built last.

Here: collecting statements and the columns of raw tables. Reading SQL is in `sql_lineage` and `column_graph`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from ml.column_graph import ColumnGraph
from ml.dbt_manifest import read_manifest, table_of
from ml.recipe import Recipe
from ml.sql_lineage import DUCKDB, created_table

Columns = Mapping[str, Sequence[str]]


def graph_of_recipe(table: str, recipe: Recipe, raw: Columns) -> ColumnGraph:
    """Return the columns of a version of features/<name>, by the very SQL that made it.

    `raw` are the columns of raw tables by name. A view whose statement is not to be read is told in `failed`.
    """
    statements, unread = dict[str, str](), dict[str, str]()
    for number, view in enumerate(recipe.views, start=1):
        try:
            statements[created_table(view)] = view
        except ValueError as error:
            unread[f"view {number} of {table}"] = str(error)
    graph = ColumnGraph({name: raw[name] for name in recipe.raw if name in raw}, {**statements, table: recipe.query})
    graph.failed |= unread
    return graph


def graph_of_builds(manifest: Path, target: Path, raw: Columns) -> ColumnGraph:
    """Return the columns of all models that dbt's manifest declares, by the SQL of each one's last build.

    `target` is dbt's target folder, in which each build leaves a folder of its own. In `failed` are models that were
    never built here, or whose SQL has changed since: their columns are those of before, if they are known.

    Raises LookupError if there is no manifest.
    """
    content = read_manifest(manifest)
    declared = {i: node for i, node in content["nodes"].items() if node["resource_type"] == "model"}
    built = _built(target)
    order = TopologicalSorter({i: set(node["depends_on"]["nodes"]) & set(declared) for i, node in declared.items()})
    statements, dialects, missing = dict[str, str](), dict[str, str](), dict[str, str]()
    for unique_id in order.static_order():
        name, last = _name(declared[unique_id]), built.get(unique_id)
        if last is None:
            missing[name] = "dbt has not built it here, so its SQL is not known; materialize it first"
            continue
        statements[name], dialects[name] = last["compiled_code"], last["dialect"]
        if last["checksum"] != declared[unique_id]["checksum"]:
            missing[name] = "its SQL has changed since it was built last: what is shown is of before; materialize it"
    graph = ColumnGraph(raw, statements, dialects)
    graph.failed |= {name: why for name, why in missing.items() if name not in graph.failed}
    return graph


def _built(target: Path) -> dict[str, Any]:
    """Return each model as its last build that compiled it left it, with the `dialect` it was compiled to."""
    found: dict[str, Any] = {}
    for path in sorted(target.glob("*/manifest.json"), key=lambda path: path.stat().st_mtime, reverse=True):
        for unique_id, node in _compiled(path):
            found.setdefault(unique_id, node)
    return found


def _compiled(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        manifest = json.loads(path.read_text())
        nodes, dialect = manifest["nodes"], manifest.get("metadata", {}).get("adapter_type", DUCKDB)
    except (OSError, ValueError, KeyError):  # a build that was killed leaves half a file
        return
    for unique_id, node in nodes.items():
        if node["resource_type"] == "model" and node.get("compiled_code"):
            yield unique_id, {**node, "dialect": dialect}


def _name(node: Any) -> str:
    return f"{node['schema']}/{table_of(node)}"
