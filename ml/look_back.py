"""How many raw months before its own a feature table reads, as dbt's models declare it (`meta.look_back_months`).

dbt's SQL takes the same entry (macros/months.sql), so what is guarded is what is read. No partitions here, no Dagster.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ml.dbt_lineage import sources_of
from ml.dbt_manifest import read_manifest, table_of

KEY = "look_back_months"
FEATURES_FOLDER = "features"


def load_look_backs(manifest: Path) -> dict[str, int]:
    """Return the most months that feature tables look back through each dbt node, by the node's unique id.

    A source or staging model has the greatest look-back of the feature tables built on it; nodes that no feature
    table reads are left out. Raises LookupError if there is no manifest, ValueError with file and field if a feature
    table declares no look-back, or one that is not a number of months.
    """
    nodes = read_manifest(manifest)["nodes"]
    models = {i: n for i, n in nodes.items() if n["resource_type"] == "model"}
    found: dict[str, int] = {}
    for unique_id, model in models.items():
        if FEATURES_FOLDER in model["fqn"]:
            _spread(models, unique_id, _declared(model), found)
    return found


def raw_read(manifest: Path, tables: Collection[str]) -> dict[str, int]:
    """Return the raw tables (names of dbt's sources) that building `tables` reads, each with the months to look back.

    `tables` are names of the tables that dbt's models build. A feature table looks back as it declares; a staging
    model as far as the feature tables built on it. Raises as `load_look_backs`.
    """
    nodes = read_manifest(manifest)
    models = {i: n for i, n in nodes["nodes"].items() if n["resource_type"] == "model"}
    look_backs, found = load_look_backs(manifest), dict[str, int]()
    for unique_id, model in models.items():
        if table_of(model) in tables:
            for source in sources_of(models, unique_id):
                name = nodes["sources"][source]["name"]
                found[name] = max(look_backs.get(unique_id, 0), found.get(name, 0))
    return found


def _spread(models: Mapping[str, Any], unique_id: str, months: int, found: dict[str, int]) -> None:
    """Note `months` for a node and all that it is built on."""
    found[unique_id] = max(months, found.get(unique_id, 0))
    for parent in models[unique_id]["depends_on"]["nodes"] if unique_id in models else ():
        _spread(models, parent, months, found)


def _declared(model: Mapping[str, Any]) -> int:
    months = model["config"].get("meta", {}).get(KEY)
    if not isinstance(months, int) or isinstance(months, bool) or months < 0:
        file = (model.get("patch_path") or model["original_file_path"]).split("://")[-1]
        raise ValueError(f"{file}: config.meta.{KEY} must be a number of months, 0 or more, not {months!r}")
    return months
