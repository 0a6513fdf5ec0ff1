"""A home made ready for runs, as `make setup` does it: dbt's manifest and Dagster's settings."""

import os
import subprocess
import sys
from pathlib import Path

from assets.resources import DBT_PROJECT
from ml.dbt_manifest import engine_of
from ml.dbt_output import dbt_output
from ml.settings import Settings

ROOT = DBT_PROJECT.parent


def bring_up_to_date(home: Path, on_postgres: bool = False) -> None:
    """Make a folder a home as `prepare` does, parsing the project only if it or its engine has changed since."""
    _configure(home, on_postgres)
    manifest = home / "dbt" / "manifest.json"
    sources = [path for path in DBT_PROJECT.rglob("*") if path.suffix in (".sql", ".yml")]
    engine = dbt_output(DBT_PROJECT, Settings().dbt_output).engine
    newest = max(path.stat().st_mtime for path in sources)
    if not manifest.exists() or manifest.stat().st_mtime < newest or engine_of(manifest) != engine:
        prepare(home, on_postgres=on_postgres)


def prepare(home: Path, project: Path = DBT_PROJECT, on_postgres: bool = False) -> None:
    """Make a folder a home, Dagster's records in it, or in the PostgreSQL that HEADWATER_DAGSTER_DB will name.

    Raises LookupError with dbt's words if the project cannot be parsed, or if HEADWATER_DBT_OUTPUT names no output.
    """
    _configure(home, on_postgres)
    target = home / "dbt"
    where = ["--project-dir", str(project), "--profiles-dir", str(project), "--target-path", str(target)]
    environment = {**os.environ, "HEADWATER_DBT_LAKE": str(home / "lake"), "DO_NOT_TRACK": "true"}
    environment["HEADWATER_WAREHOUSE"] = str(home / "warehouse.duckdb")
    dbt = [str(Path(sys.executable).parent / "dbt"), "--quiet", "parse", *where, "--log-path", str(target)]
    dbt += ["--target", dbt_output(project, Settings().dbt_output).name]
    done = subprocess.run(dbt, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LookupError(f"dbt parse of {project} failed: {done.stdout.strip()[-500:]}")


def _configure(home: Path, on_postgres: bool) -> None:
    (home / "dagster").mkdir(parents=True, exist_ok=True)
    parts = [ROOT / "dagster.yaml", *([ROOT / "deploy" / "dagster-postgres.yaml"] if on_postgres else [])]
    (home / "dagster" / "dagster.yaml").write_text("".join(part.read_text() for part in parts))
