"""dbt's command line on Spark: `python -m ml.dbt_spark build --target spark ...`, by ml/dbt_spark.sh, as dbt itself.

A session begins and ends with the process, and its catalogue with it. So what a build stands on is declared first: raw
tables at their versions, and all staging views. Tables are written under HEADWATER_WAREHOUSE, where `ml.warehouse` reads.
"""

import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from ml.dbt_output import LOCAL
from ml.lake import Lake
from ml.spark_session import spark_settings

# What the same models are in DuckDB's SQL, beside dbt's own artifacts: the recipe of what was built (`ml.recipe`).
RECIPE_MANIFEST, RECIPE_RESULTS = "duckdb_manifest.json", "duckdb_run_results.json"
_SESSION = {"build", "run", "test", "compile", "show", "retry"}
_WRITES = {"build", "run"}
_FOLDERS = ("--project-dir", "--profiles-dir")
_WANTED_BY = "HEADWATER_DBT_OUTPUT=spark"


def main(arguments: Sequence[str]) -> None:
    """Run dbt, and end the process with its status; with 2 and the remedy if Spark cannot run or read the lake."""
    from dbt.cli.main import cli

    try:
        if _SESSION & set(arguments):
            _begin(arguments)
        if _WRITES & set(arguments):
            _keep_recipe(arguments)
    except (LookupError, NotImplementedError) as error:
        sys.exit(f"headwater: {error}")
    cli(list(arguments), prog_name="dbt")


def _begin(arguments: Sequence[str]) -> None:
    """Start the session, and declare in it what builds stand on."""
    from pyspark.sql import SparkSession

    warehouse = Path(os.environ["HEADWATER_WAREHOUSE"])
    lake = Lake(os.environ["HEADWATER_DBT_LAKE"])
    settings = session_settings(warehouse, json.loads(os.environ.get("HEADWATER_SPARK_CONF") or "{}"))
    shutil.rmtree(warehouse, ignore_errors=True)  # a catalogue that has ended knows none of its tables
    logging.getLogger("SQLQueryContextLogger").disabled = True  # dbt tells the same error
    spark = SparkSession.builder.config(map=dict(settings)).getOrCreate()

    from ml.spark_raw import declare_raw

    declare_raw(spark, lake, _variables(arguments).get("raw_versions") or {})
    with TemporaryDirectory() as folder:
        _dbt(["run", "--select", "path:models/staging"], "spark", arguments, folder)


def session_settings(warehouse: Path, overlay: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of a session that builds in a folder. Raises LookupError if Spark cannot run here."""
    ours = {
        "spark.sql.warehouse.dir": str(warehouse),
        "spark.sql.session.timeZone": "UTC",  # macros/dialect.sql counts on it
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.catalogImplementation": "in-memory",
    }
    return {**spark_settings(warehouse.parent, overlay, _WANTED_BY), **ours}


def _keep_recipe(arguments: Sequence[str]) -> None:
    """Compile the same models for DuckDB, and leave that beside what dbt will leave."""
    target = Path(os.environ.get("DBT_TARGET_PATH") or _option(arguments, "--target-path") or "target")
    target.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder, _environment(HEADWATER_WAREHOUSE=str(Path(folder, "warehouse.duckdb"))):
        _dbt(["compile"], LOCAL, arguments, folder)
        for name, kept in (("manifest.json", RECIPE_MANIFEST), ("run_results.json", RECIPE_RESULTS)):
            shutil.move(Path(folder, name), target / kept)


def _dbt(command: Sequence[str], output: str, arguments: Sequence[str], folder: str) -> None:
    """Run dbt in this process for ourselves: nothing of it reaches standard output, which another dbt's events fill."""
    from dbt.cli.main import dbtRunner

    words = ["--quiet", *command, "--target", output, "--target-path", folder, "--log-path", folder]
    words += [word for name in _FOLDERS if (value := _option(arguments, name)) for word in (name, value)]
    words += ["--vars", json.dumps(_variables(arguments))]
    with redirect_stdout(sys.stderr), _environment(DBT_TARGET_PATH=folder, DBT_LOG_PATH=folder):
        done = dbtRunner().invoke(words)
    if not done.success:
        raise LookupError(f"dbt {' '.join(command)} failed on the output {output}: {done.exception or 'see above'}")


def _variables(arguments: Sequence[str]) -> dict[str, Any]:
    return yaml.safe_load(_option(arguments, "--vars") or "{}") or {}


def _option(arguments: Sequence[str], name: str) -> str | None:
    words = list(arguments)
    return words[words.index(name) + 1] if name in words else None


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


if __name__ == "__main__":
    main(sys.argv[1:])
