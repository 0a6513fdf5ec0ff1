"""Published Delta tables as Spark reads them: exactly one version's Parquet files, and keys that cannot be confused.

Reads without Delta's Spark jars: the files of a version, their order and their schema come from the Delta log.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from deltalake import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

_PLACE = "__place"
_ROW = "__file_row"
_NEWER = "__newer"


def encoded(key: str) -> Column:
    """Return a key as length:value. Feast's Spark store puts a row's keys together without a separator,
    so that (a, bc) and (ab, c) would be one entity; encoded like this they are two. Null stays null.
    """
    text = F.col(key).cast("string")
    return F.concat(F.length(text).cast("string"), F.lit(":"), text)


def read_version(spark: SparkSession, table: DeltaTable) -> DataFrame:
    """Return the rows of an open Delta table and their place in it, `__place` and `__file_row`.

    Raises NotImplementedError if its files alone do not say which rows the version has.
    """
    refuse_what_files_do_not_say(table)
    schema = StructType.fromJson(json.loads(table.schema().to_json()))
    # Delta keeps the values of partition columns in its log, not in the files.
    within = set(table.metadata().partition_columns)
    schema = StructType([field for field in schema.fields if field.name not in within])
    files = table.file_uris()
    if not files:
        empty = spark.createDataFrame([], schema)
        return empty.withColumns({_PLACE: F.lit(0), _ROW: F.lit(0)})
    places = F.create_map([F.lit(part) for place, file in enumerate(files) for part in (Path(file).name, place)])
    rows = spark.read.schema(schema).parquet(*files)
    return rows.withColumns({_PLACE: places[F.col("_metadata.file_name")], _ROW: F.col("_metadata.row_index")})


def one_version_each(rows: DataFrame, keys: Sequence[str], instants: Sequence[str]) -> DataFrame:
    """Return `rows`, of those equal in keys and instants only the table's later one: Feast's Spark store
    would return an entity row once for each of them.
    """
    newest = Window.partitionBy(*keys, *instants).orderBy(F.desc(_PLACE), F.desc(_ROW))
    return rows.withColumn(_NEWER, F.row_number().over(newest)).where(F.col(_NEWER) == 1).drop(_NEWER, _PLACE, _ROW)


def refuse_what_files_do_not_say(table: DeltaTable) -> None:
    """Raise NotImplementedError if a version's rows are not simply those of its files."""
    protocol = table.protocol()
    features = set(protocol.reader_features or ())
    if protocol.min_reader_version == 2 or features & {"deletionVectors", "columnMapping"}:
        raise NotImplementedError(
            f"Delta table {table.table_uri} has deletion vectors or mapped columns; rewrite it without them, "
            "or do without Spark (HEADWATER_OFFLINE_STORE=polars, HEADWATER_DBT_OUTPUT=local)"
        )
