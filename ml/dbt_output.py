"""Where dbt builds: the outputs of dbt_project/profiles.yml, of which HEADWATER_DBT_OUTPUT names one.

Here: which there are, what engine each is, and what its dbt has to know. Running dbt and reading what it built are not.
"""

import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ml import remedies
from ml.settings import Settings
from ml.spark_session import spark_settings

LOCAL = "local"  # the output whose SQL is kept with every version: DuckDB can make its rows again anywhere
DUCKDB, SPARK = "duckdb", "spark"
# What a build on another engine leaves beside dbt's artifacts: the same models in DuckDB's SQL (`ml.recipe`).
RECIPE_MANIFEST, RECIPE_RESULTS = "duckdb_manifest.json", "duckdb_run_results.json"
_ON_SPARK = Path(__file__).with_name("dbt_spark.sh")


@dataclass(frozen=True)
class DbtOutput:
    """An output by its name, and dbt's name of its engine: `duckdb` or `spark`."""

    name: str
    engine: str

    @property
    def executable(self) -> Path:
        """The dbt that builds here."""
        return _ON_SPARK if self.engine == SPARK else Path(sys.executable).parent / "dbt"

    def warehouse(self, settings: Settings) -> Path:
        """Return what dbt builds in: DuckDB's file, or the folder of Spark's tables."""
        return settings.spark_home / "dbt" if self.engine == SPARK else settings.warehouse

    def require(self, settings: Settings) -> None:
        """Raise LookupError with the remedy if this output cannot build here, or not from this lake."""
        if self.engine != SPARK:
            return
        wanted_by = f"HEADWATER_DBT_OUTPUT={self.name}"
        if "://" in settings.lake:
            raise LookupError(f"{wanted_by} reads a lake in a folder, not {settings.lake}; set it to {LOCAL}")
        spark_settings(settings.spark_home, settings.spark_conf, wanted_by)
        if importlib.util.find_spec("dbt.adapters.spark") is None:
            raise LookupError(f"{wanted_by} needs dbt-spark, which is not installed; {remedies.install('make spark')}")

    def variables(self, settings: Settings) -> dict[str, str]:
        """Return the environment that dbt needs here, beside its own."""
        found = {"HEADWATER_DBT_LAKE": settings.lake, "HEADWATER_WAREHOUSE": str(self.warehouse(settings))}
        if self.engine == SPARK:
            found |= {"HEADWATER_PYTHON": sys.executable, "HEADWATER_SPARK_CONF": json.dumps(settings.spark_conf)}
        return found


def dbt_output(project: Path, name: str) -> DbtOutput:
    """Return the output of a dbt project's profile that is called `name`.

    Raises LookupError that names the outputs there are, and ValueError if Headwater cannot read what its engine built.
    """
    path = project / "profiles.yml"
    outputs = _outputs(path)
    if name not in outputs:
        raise LookupError(
            f"HEADWATER_DBT_OUTPUT={name} names no output of {path}; there are {', '.join(outputs)}: set one of them"
        )
    engine, method = outputs[name].get("type"), outputs[name].get("method")
    if engine == DUCKDB or (engine, method) == (SPARK, "session"):
        return DbtOutput(name, engine)
    raise ValueError(
        f"{path}: the output {name} is of type {engine}{f' by {method}' if method else ''}; what dbt built is read out "
        "of duckdb, or of spark by the method session"
    )


def _outputs(path: Path) -> Mapping[str, Any]:
    (profile,) = yaml.safe_load(path.read_text()).values()
    outputs: Mapping[str, Any] = profile["outputs"]
    return outputs
