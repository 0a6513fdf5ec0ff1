"""dbt's command line on Spark: `python -m ml.dbt_spark build --target spark ...`, by ml/dbt_spark.sh, as dbt itself.

A session begins and ends with the process, and its catalogue with it. So what a build stands on is declared first: raw
tables at their versions, and all staging views. Tables are written to HEADWATER_WAREHOUSE, where `ml.warehouse` reads.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from pydantic_settings import BaseSettings, SettingsConfigDict

from ml.dbt_output import LOCAL, RECIPE_MANIFEST, RECIPE_RESULTS, SPARK
from ml.lake import Lake
from ml.spark_session import spark_settings

_SESSION = {"build", "run", "compile", "show"}
_LATER = {"test", "retry"}
_WRITES = {"build", "run"}
_FOLDERS = ("--project-dir", "--profiles-dir")
_WANTED_BY = "HEADWATER_DBT_OUTPUT=spark"


class _Told(BaseSettings):
    """What `DbtOutput.variables` puts into dbt's environment."""

    model_config = SettingsConfigDict(env_prefix="HEADWATER_", extra="ignore", frozen=True)
    dbt_lake: str
    warehouse: Path
    spark_conf: dict[str, str] = {}


def main(arguments: Sequence[str]) -> None:
    """Run dbt, and end the process with its status; with the remedy if Spark cannot run or read the lake."""
    from dbt.cli.main import cli

    try:
        if _LATER & set(arguments):
            raise LookupError("the tables of an earlier session are gone; dbt build tests what it builds")
        if _SESSION & set(arguments):
            _begin(arguments)
        if _WRITES & set(arguments):
            _keep_recipe(arguments)
    except (LookupError, NotImplementedError, ValueError) as error:
        sys.exit(f"headwater: {error}")
    cli(list(arguments), prog_name="dbt")


def _begin(arguments: Sequence[str]) -> None:
    """Start the session, and declare in it what builds stand on."""
    told = _Told()  # type: ignore[call-arg]
    if "://" in told.dbt_lake:
        raise LookupError(f"{_WANTED_BY} reads a lake in a folder, not {told.dbt_lake}")
    settings = session_settings(told.warehouse, told.spark_conf)
    for schema in told.warehouse.glob("*.db"):  # the catalogue that knew these tables has ended
        shutil.rmtree(schema)
    from pyspark.sql import SparkSession

    from ml.spark_raw import declare_raw

    logging.getLogger("SQLQueryContextLogger").disabled = True  # dbt tells the same error
    spark = SparkSession.builder.config(map=dict(settings)).getOrCreate()
    declare_raw(spark, Lake(told.dbt_lake), _variables(arguments).get("raw_versions") or {})
    _declare_staging(arguments)


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
    with TemporaryDirectory() as folder:
        words = _words(["compile"], LOCAL, arguments, folder)
        places = {"HEADWATER_WAREHOUSE": str(Path(folder, "warehouse.duckdb")), **_dbt_writes_to(folder)}
        dbt = str(Path(sys.executable).parent / "dbt")
        done = subprocess.run([dbt, *words], env={**os.environ, **places}, stdout=sys.stderr, check=False)
        if done.returncode:
            raise LookupError(f"dbt compile failed on the output {LOCAL}; see above")
        for name, kept in (("manifest.json", RECIPE_MANIFEST), ("run_results.json", RECIPE_RESULTS)):
            shutil.move(Path(folder, name), target / kept)


def _declare_staging(arguments: Sequence[str]) -> None:
    """Make all staging views. Nothing of it reaches standard output: the events of the build that follows fill that."""
    from dbt.cli.main import dbtRunner

    output = _option(arguments, "--target") or SPARK
    with TemporaryDirectory() as folder, redirect_stdout(sys.stderr), _environment(_dbt_writes_to(folder)):
        done = dbtRunner().invoke(_words(["run", "--select", "path:models/staging"], output, arguments, folder))
    if not done.success:
        raise LookupError(f"dbt run of models/staging failed on the output {output}: {done.exception or 'see above'}")


def _words(command: Sequence[str], output: str, arguments: Sequence[str], folder: str) -> list[str]:
    """Return the words of a command of our own on the same project and variables, which writes to a folder."""
    words = ["--quiet", *command, "--target", output, "--target-path", folder, "--log-path", folder]
    words += [word for name in _FOLDERS if (value := _option(arguments, name)) for word in (name, value)]
    return [*words, "--vars", json.dumps(_variables(arguments))]


def _dbt_writes_to(folder: str) -> dict[str, str]:
    return {"DBT_TARGET_PATH": folder, "DBT_LOG_PATH": folder}


def _variables(arguments: Sequence[str]) -> dict[str, Any]:
    return yaml.safe_load(_option(arguments, "--vars") or "{}") or {}


def _option(arguments: Sequence[str], name: str) -> str | None:
    """Return what follows a flag, as the next word or after "="; None if the flag is not given."""
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if word == name:
            return following
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    return None


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
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
