"""dbt's manifest, read: its models and the table that each builds. What makes one a feature view is not here."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Node = Mapping[str, Any]


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest. Raises LookupError if there is none and ValueError if the file is not one."""
    try:
        manifest = json.loads(path.read_text())
        manifest["nodes"]
    except OSError as error:
        raise LookupError(f"no dbt manifest at {path}; run dbt parse") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a dbt manifest ({error}); run dbt parse") from error
    return manifest


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
