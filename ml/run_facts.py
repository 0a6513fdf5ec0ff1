"""What MLflow is told about a run besides metrics: parameters of the spec, the training set, where it came from.

Pure functions of specs, rows and recorded metadata. Not here: writing them (ml/recording.py), and asking git or the
machine (ml/provenance.py).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ml.spec import ModelSpec, column_of

SPEC_FILE = "spec.json"
PARAM_LENGTH = 6000  # MLflow's limits
DIGEST_LENGTH = 36
_SOURCE_TYPE = "delta_table"  # what MLflow's own Delta sources are called: mlflow.data.get_source opens it


@dataclass(frozen=True)
class TrainingSet:
    """A training set as MLflow keeps datasets; `source`, `schema` and `profile` are JSON, `digest` a hash's start."""

    name: str
    digest: str
    source: str
    schema: str
    profile: str
    source_type: str = _SOURCE_TYPE


def training_set(location: str, version: int, content: str, rows: pl.LazyFrame, spec: ModelSpec) -> TrainingSet:
    """Return what is kept of version `version` of the Delta table at `location`, `rows`, with its content hash."""
    names = {
        spec.outcome.label: "label",
        spec.outcome.prediction_time: "prediction_time",
        spec.outcome.row_id: "row id",
    }
    names |= {column_of(reference): f"feature {reference}" for reference in spec.features}
    names |= {field.name: f"request, {field.kind}" for field in spec.request}
    columns = [
        {"name": name, "type": str(kind), "required": False, "role": names.get(name, "not read")}
        for name, kind in rows.collect_schema().items()
    ]
    label, asked = pl.col(spec.outcome.label), pl.col(spec.outcome.prediction_time)
    told = rows.select(
        num_rows=pl.len(),
        num_elements=pl.len() * len(columns),
        labelled_rows=label.count(),
        label_mean=label.cast(pl.Float64).mean(),
        first_prediction_time=asked.min(),
        last_prediction_time=asked.max(),
    )
    profile = {**told.collect(engine="streaming").row(0, named=True), "content_hash": content}
    return TrainingSet(
        name="/".join(Path(location).parts[-2:]),
        digest=content[:DIGEST_LENGTH],
        source=json.dumps({"path": location, "delta_table_version": version}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps(profile, default=str),
    )


def origin(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a training set was made from as tags that are read one by one.

    `recorded` is the metadata of its commit: `sources` (published table to version), `dbt_manifest`, `git`.
    """
    tags: dict[str, Any] = {f"published/{name}": version for name, version in (recorded.get("sources") or {}).items()}
    tags["dbt_manifest"] = recorded.get("dbt_manifest")
    tags["training_set_git_commit"] = (recorded.get("git") or {}).get("commit")
    return tags


def parameters(spec: ModelSpec) -> dict[str, str]:
    """Return every setting of a spec by its path (training.epochs), as text within MLflow's limit."""
    return {name: shortened(text) for name, text in _flat("", spec.model_dump(mode="json"))}


def shortened(text: str, limit: int = PARAM_LENGTH) -> str:
    """Cut a text at the last comma or space that fits, and say how much is gone and where the whole is."""
    if len(text) <= limit:
        return text
    kept = text[: limit - 60]
    ends = (end for end in (kept.rfind(", "), kept.rfind(" ")) if end > limit // 2)
    kept = kept[: next(ends, len(kept))]
    return f"{kept} ... ({len(text) - len(kept):,} more characters in {SPEC_FILE})"


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(f"{name}.{key}" if name else key, part)
    elif isinstance(value, list):
        yield name, ", ".join(_words(entry) for entry in value)
    elif value is not None:
        yield name, str(value)


def _words(entry: Any) -> str:
    """Return a list's entry in one line: `name kind` for fields, JSON for anything unforeseen."""
    if isinstance(entry, dict) and all(isinstance(part, str) for part in entry.values()):
        return " ".join(entry.values()) if len(entry) == 2 else json.dumps(entry)
    return str(entry)
