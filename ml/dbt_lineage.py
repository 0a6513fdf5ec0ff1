"""From which raw tables dbt makes its tables, and which tables make up one problem, read from its manifest."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml import remedies
from ml.dbt_manifest import read_manifest, table_of


@dataclass(frozen=True)
class Tables:
    """Raw tables (names of sources), and the tables that dbt makes from them."""

    raw: frozenset[str]
    made: frozenset[str]


def sources_behind(manifest: Path) -> dict[str, tuple[str, ...]]:
    """Return the raw tables that each table of dbt is made from, through all models between, by its name.

    Raises LookupError if there is no manifest.
    """
    return {table: tuple(sorted(behind)) for table, behind in _behind(read_manifest(manifest)).items()}


def problem_of(manifest: Path, tables: Collection[str]) -> Tables:
    """Return all tables of the problem that `tables` (of dbt) belong to: whatever is made from the same sources.

    Raw tables that stand under one source in dbt's YAML belong together: tests name them without being made from them.
    Raises LookupError if there is no manifest, or no table of such a name.
    """
    content = read_manifest(manifest)
    behind, groups = _behind(content), dict[str, str]()
    for node in content["sources"].values():
        groups[node["name"]] = node["source_name"]
    if strangers := sorted(set(tables) - set(behind)):
        raise LookupError(
            f"dbt makes no table {strangers}; it makes {sorted(behind)}: correct the name, or {remedies.declare()}"
        )
    wanted = {groups[name] for table in tables for name in behind[table]}
    raw = frozenset(name for name, group in groups.items() if group in wanted)
    return Tables(raw, frozenset(table for table, names in behind.items() if names and names <= raw))


def stands_on(manifest: Path, table: str) -> Tables:
    """Return the tables that one table of dbt is made from, itself too, with the raw tables that its tests name.

    Raises LookupError if there is no manifest, or no table of that name.
    """
    content = read_manifest(manifest)
    models = {i: node for i, node in content["nodes"].items() if node["resource_type"] == "model"}
    made = _ancestors(models, next((i for i, node in models.items() if table_of(node) == table), ""))
    if not made:
        raise LookupError(f"dbt makes no table {table!r}: correct the name, or {remedies.declare()}")
    raw = {content["sources"][i]["name"] for one in made for i in sources_of(models, one)}
    tests = [n["test_metadata"]["kwargs"] for n in content["nodes"].values() if n.get("attached_node") in made]
    named = set().union(*map(_words, tests)) & {node["name"] for node in content["sources"].values()}
    return Tables(frozenset(raw | named), frozenset(table_of(models[one]) for one in made))


def sources_of(models: Mapping[str, Any], unique_id: str) -> set[str]:
    """Return the unique ids of all sources that a node is built on; of a source its own."""
    if unique_id not in models:
        return {unique_id}
    return set().union(*(sources_of(models, parent) for parent in models[unique_id]["depends_on"]["nodes"]))


def _behind(content: Mapping[str, Any]) -> dict[str, set[str]]:
    models = {i: node for i, node in content["nodes"].items() if node["resource_type"] == "model"}
    names = {i: node["name"] for i, node in content["sources"].items()}
    return {table_of(node): {names[i] for i in sources_of(models, one)} for one, node in models.items()}


def _ancestors(models: Mapping[str, Any], unique_id: str) -> set[str]:
    """Return the unique ids of the models that a model is built on, and its own; none of what is no model."""
    if unique_id not in models:
        return set()
    return {unique_id}.union(*(_ancestors(models, parent) for parent in models[unique_id]["depends_on"]["nodes"]))


def _words(value: Any) -> set[str]:
    """Return all texts in the arguments of a test."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return set().union(*map(_words, value))
    return {value} if isinstance(value, str) else set()
