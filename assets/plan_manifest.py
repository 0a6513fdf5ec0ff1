"""dbt's manifest of a project with other files in it, or with a table less: the files themselves stay as they are."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from assets.resources import Platform
from ml.dbt_manifest import read_manifest, table_of


@dataclass(frozen=True)
class OtherManifest(Platform):
    """The parts of a platform, but dbt's manifest is the file `other`."""

    other: Path = Path()

    @cached_property
    def manifest(self) -> Path:
        """That file."""
        return self.other


@contextmanager
def with_files(platform: Platform, files: Mapping[str, str]) -> Iterator[Platform]:
    """Give the platform as it is when dbt's project has `files` too (text by path inside of the project).

    Raises ValueError with what dbt says if it refuses them.
    """
    with TemporaryDirectory() as folder:
        project = Path(folder) / platform.dbt_project.name
        shutil.copytree(platform.dbt_project, project, ignore=shutil.ignore_patterns("target", "logs"))
        for name, text in files.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(text)
        yield OtherManifest(platform.settings, platform.dbt_project, other=_parse(platform, project))


@contextmanager
def without_table(platform: Platform, name: str) -> Iterator[Platform]:
    """Give the platform as it is without the feature table `name` and its tests."""
    manifest = read_manifest(platform.manifest)
    models = {i for i, n in manifest["nodes"].items() if n["resource_type"] == "model" and table_of(n) == name}
    gone = models | {i for i, n in manifest["nodes"].items() if models & set(n["depends_on"].get("nodes", ()))}
    manifest["nodes"] = {i: n for i, n in manifest["nodes"].items() if i not in gone}
    for relatives in ("child_map", "parent_map"):
        manifest[relatives] = _kept(manifest[relatives], gone)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.json"
        path.write_text(json.dumps(manifest))
        yield OtherManifest(platform.settings, platform.dbt_project, other=path)


def _kept(relatives: Mapping[str, Any], gone: set[str]) -> dict[str, Any]:
    return {i: [other for other in near if other not in gone] for i, near in relatives.items() if i not in gone}


def _parse(platform: Platform, project: Path) -> Path:
    target = project / "target"
    output = platform.dbt_output
    environment = {**os.environ, **output.variables(platform.settings), "DO_NOT_TRACK": "true"}
    dbt = [str(output.executable), "--quiet", "--no-use-colors", "parse", "--target", output.name]
    places = ["--project-dir", project, "--profiles-dir", project, "--target-path", target, "--log-path", target]
    ended = subprocess.run([*dbt, *map(str, places)], env=environment, capture_output=True, text=True)
    if ended.returncode:
        said = " ".join((ended.stdout + ended.stderr).replace(f"{project.parent}/", "").split())
        raise ValueError(f"dbt refuses the files: {said}")
    return target / "manifest.json"
