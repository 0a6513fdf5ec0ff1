"""dbt's manifest, read: its models and the table that each builds. What makes one a feature view is not here."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Node = Mapping[str, Any]

# What every feature-stage table has, whether its YAML says so or not (dbt_project/macros/times.sql).
TIMES = {
    "event_timestamp": ("timestamp with time zone", "When the row became known (UTC)."),
    "created_timestamp": ("timestamp with time zone", "When this version of the row became known (UTC)."),
    "partition_key": ("varchar", "Month of the row's partition."),
}


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest, feature-stage tables with the columns that all of them have.

    Raises LookupError if there is none and ValueError if the file is not one.
    """
    try:
        manifest = json.loads(path.read_text())
        for node in manifest["nodes"].values():
            if {"feature_view", "outcome"} & set(node.get("config", {}).get("meta", {})):
                _complete(node.setdefault("columns", {}))
    except OSError as error:
        raise LookupError(f"no dbt manifest at {path}; run dbt parse") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a dbt manifest ({error}); run dbt parse") from error
    return manifest


def _complete(columns: dict[str, Any]) -> None:
    for name, (data_type, description) in TIMES.items():
        columns.setdefault(name, {"name": name, "data_type": data_type, "description": description, "meta": {}})


def engine_of(path: Path) -> str:
    """Return dbt's name of the engine that a manifest is for, such as duckdb. Raises what `read_manifest` raises."""
    return str(read_manifest(path).get("metadata", {}).get("adapter_type", "duckdb"))


def table_of(node: Node) -> str:
    """Return the name of the table that a model builds, which differs between the versions of one model."""
    return node["alias"]


def file_of(node: Node) -> str:
    """Return the file that declares a model: its YAML, or its SQL where it has none."""
    # patch_path is "project://models/features/x.yml".
    return (node.get("patch_path") or node["original_file_path"]).split("://")[-1]


def is_feature_view(node: Node) -> bool:
    """Whether a node is a model that declares a feature view."""
    return node["resource_type"] == "model" and "feature_view" in node["config"].get("meta", {})
