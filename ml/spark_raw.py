"""Raw Delta tables in the catalogue of a Spark session: raw.flights is exactly one version's Parquet files.

Without Delta's Spark jars: the files of a version and its schema come from the Delta log. Reading published tables for
Feast's join is `spark_tables`' part, and running dbt on this catalogue `dbt_spark`'s.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import unquote

from deltalake import DeltaTable
from pyspark.sql import SparkSession
from pyspark.sql.types import StructType

from ml.data_files import data_files
from ml.lake import Lake
from ml.spark_tables import refuse_what_files_do_not_say

SCHEMA = "raw"
_OF_GLOBS = re.compile(r"([\\\[\]{}*?,])")


def declare_raw(spark: SparkSession, lake: Lake, versions: Mapping[str, int]) -> list[str]:
    """Declare each raw table of a lake as raw.<name> in the session's catalogue, and return the tables' names.

    Args:
        spark: The session.
        lake: A lake in a folder.
        versions: The version to read of each table, by name; 0, or none, is the newest, as dbt's DuckDB reads it.

    Raises LookupError if the lake has no such version; NotImplementedError if a table's files alone do not say which
    rows it has.
    """
    spark.sql(f"create schema if not exists {SCHEMA}")
    names = [table.partition("/")[2] for table in lake.tables() if table.startswith(f"{SCHEMA}/")]
    for name in names:
        table = f"{SCHEMA}/{name}"
        _declare(spark, f"{SCHEMA}.{name}", lake.path(table), lake.open(table, versions.get(name) or None))
    return names


def _declare(spark: SparkSession, name: str, root: str, table: DeltaTable) -> None:
    refuse_what_files_do_not_say(table)
    schema = StructType.fromJson(json.loads(table.schema().to_json()))
    files = [unquote(file) for file in data_files(table)]
    if not files:
        spark.catalog.createTable(name, source="parquet", schema=schema)
        return
    # A table of the catalogue has one path: a pattern that matches these files and no others.
    pattern = f"{_escaped(root)}/{{{','.join(map(_escaped, files))}}}"
    spark.catalog.createTable(name, path=pattern, source="parquet", schema=schema, basePath=root)


def _escaped(path: str) -> str:
    return _OF_GLOBS.sub(r"\\\1", path)
