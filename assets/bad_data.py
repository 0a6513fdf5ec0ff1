"""Whether what a model reads is held back by a failed gate: then a breach is no drift, and nothing is trained anew."""

from collections.abc import Iterator

from assets.quarantine import held
from assets.resources import Platform
from ml.dbt_manifest import read_manifest, table_of
from ml.spec import ModelSpec

STAGES = ("staging", "features", "published")


def bad_data(platform: Platform, spec: ModelSpec) -> list[str]:
    """Return a sentence for each held batch of a table that the model is made from, newest first."""
    read = set(tables_read(platform, spec))
    return [f"{batch.name} is in quarantine: {batch.reason}" for batch in held(platform) if batch.table in read]


def tables_read(platform: Platform, spec: ModelSpec) -> Iterator[str]:
    """Yield the lake's tables that the model's features and outcomes are made from, up to the raw ones."""
    manifest = read_manifest(platform.manifest)
    models = {node["unique_id"]: node for node in manifest["nodes"].values() if node["resource_type"] == "model"}
    waiting = [key for key, node in models.items() if table_of(node) in {*spec.views, spec.outcome.table}]
    seen = set[str]()
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        if key in models:
            yield from (f"{stage}/{table_of(models[key])}" for stage in STAGES)
            waiting += models[key]["depends_on"]["nodes"]
        elif key in manifest["sources"]:
            yield f"raw/{manifest['sources'][key]['name']}"
