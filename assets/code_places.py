"""The file that declares each asset, for the Dagster UI's "view source": a source, a dbt model, a model's spec."""

from collections.abc import Iterable
from pathlib import Path

import dagster as dg

from assets.resources import Platform
from ml.dbt_manifest import read_manifest, table_of
from ml.source import Source
from ml.spec import ModelSpec

ROOT = Path(__file__).parent.parent


def code_places(
    platform: Platform, sources: Iterable[Source], models: Iterable[ModelSpec]
) -> dict[str, dg.CodeReferencesMetadataValue]:
    """Return the place of each table that a file declares, by its name (raw/flights), and of each model by its own."""
    places = {source.table: _declared(ROOT / "ml" / "sources", f'name="{source.name}"') for source in sources}
    for node in read_manifest(platform.manifest)["nodes"].values():
        if node["resource_type"] == "model":
            file = platform.dbt_project / node["original_file_path"]
            places[f"{node['schema']}/{table_of(node)}"] = (file, 1)
            places[f"published/{table_of(node)}"] = (file, 1)
    for spec in models:
        places[spec.name] = (ROOT / "ml" / "models" / f"{spec.name}.py", 1)
    return {name: _reference(*place) for name, place in places.items() if place is not None and place[0].exists()}


def _declared(folder: Path, text: str) -> tuple[Path, int] | None:
    for path in sorted(folder.glob("*.py")):
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if text in line:
                return path, number
    return None


def _reference(path: Path, line: int) -> dg.CodeReferencesMetadataValue:
    label = (path.relative_to(ROOT) if path.is_relative_to(ROOT) else path).as_posix()
    return dg.CodeReferencesMetadataValue(
        code_references=[dg.LocalFileCodeReference(file_path=str(path), line_number=line, label=label)]
    )
