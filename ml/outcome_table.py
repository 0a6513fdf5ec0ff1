"""The table with the outcomes that a model learns from: whether dbt declares it, and in it what the spec names.

Feature views are `ml/feature_views.py`'s part.
"""

from pathlib import Path

from ml import remedies
from ml.dbt_manifest import file_of, read_manifest, table_of
from ml.spec import ModelSpec


def require_outcome(spec: ModelSpec, manifest: Path) -> None:
    """Raise LookupError with the remedy if dbt declares no outcome table of a spec, or none with all that it names."""
    nodes = read_manifest(manifest)["nodes"].values()
    models = [node for node in nodes if node["resource_type"] == "model"]
    declared = {table_of(node): node for node in models if "outcome" in node["config"].get("meta", {})}
    outcome = spec.outcome
    if outcome.table not in declared:
        raise LookupError(
            f"model {spec.name!r} learns from {outcome.table!r}, which dbt does not declare as a table with outcomes; "
            f"it has {sorted(declared)}: correct the model's outcome, or declare the table (config.meta.outcome) and "
            f"{remedies.declare()}"
        )
    node = declared[outcome.table]
    named = [outcome.row_id, outcome.label, outcome.label_timestamp, outcome.prediction_time, *outcome.auxiliary]
    missing = sorted({*named, *(field.name for field in spec.request)} - set(node["columns"]))
    if missing:
        raise LookupError(
            f"model {spec.name!r} names {missing} of its outcome table, which {file_of(node)} does not declare; it has "
            f"{list(node['columns'])}: correct the model's outcome or request, or declare them and {remedies.declare()}"
        )
