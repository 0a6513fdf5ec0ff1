"""What a table must hold: the contract that its declaration implies, then its own suite file. Runs nothing.

Suite files are `checks/expectations/<stage>_<table>.json`, such as raw_flights.json: an object with `expectations` as
Great Expectations writes them and, if need be, `computed` columns in SQL that these may name. `meta.notes` says why a
bound is what it is; `meta.from_rows` says from how many rows on an expectation is judged at all. A file is optional,
the contract is not. All that is known of one problem's tables is in these files.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from ml.dbt_manifest import Node, read_manifest, table_of
from ml.feature_views import TIME_COLUMNS, kind_of_type
from ml.lake import PARTITION_KEY
from ml.source import Source

Expectation = Mapping[str, Any]

FOLDER = Path(__file__).parent / "expectations"
EVENT, CREATED = TIME_COLUMNS
# A month is the source's own: up to 14 hours from UTC's, and a fact of its last hour may take two days to be known.
SLACK = timedelta(days=3)
_FIELDS = {"computed", "expectations"}
_NAMES = ("column", "column_A", "column_B")
_LISTS = ("column_list", "column_set")


@dataclass(frozen=True)
class Suite:
    """All expectations of one table of the lake.

    `key` names a fact, `unique` one row. `kinds` gives each column's kind: float, int, string, bool, instant, or None
    for a type that is not judged. `computed` holds SQL expressions on the table's columns by the name of their result.
    """

    table: str
    key: tuple[str, ...]
    unique: tuple[str, ...]
    kinds: Mapping[str, str | None]
    partitioned: bool
    may_be_empty: bool
    computed: Mapping[str, str]
    own: tuple[Expectation, ...]

    def expectations(self, partition: str) -> list[Expectation]:
        """Return the contract on this partition ("2013-01", or "" for the whole table), then the file's own."""
        return [*_contract(self, partition), *self.own]


def suite_of_source(source: Source, folder: Path = FOLDER) -> Suite:
    """Return the suite of a raw table. Raises ValueError if its file does not fit the declaration."""
    kinds = {name: kind_of(dtype) for name, dtype in source.schema.items()} | dict.fromkeys(TIME_COLUMNS, "instant")
    partitioned = source.partition is not None
    if partitioned:
        kinds[PARTITION_KEY] = "string"
    return _suite(folder, source.table, source.key, (*source.key, CREATED), kinds, partitioned, False)


def suite_of_feature_table(manifest: Path, name: str, folder: Path = FOLDER) -> Suite:
    """Return the suite of features/<name>: a feature view, or the table with the outcomes.

    Raises LookupError if dbt declares no such table and ValueError if the suite file does not fit the declaration.
    """
    models = _feature_models(manifest)
    if name not in models:
        raise LookupError(f"dbt declares no feature table {name!r}; it has {sorted(models)}")
    node = models[name]
    meta = node["config"]["meta"]
    kinds = {column: kind_of_type(declared.get("data_type")) for column, declared in node["columns"].items()}
    key = tuple(meta["feature_view"]["entities"].values()) if "feature_view" in meta else (meta["outcome"]["row_id"],)
    unique = (*key, EVENT, CREATED) if "feature_view" in meta else key
    # A month may bring no row, where a view's source has no month of its own.
    return _suite(folder, f"features/{name}", key, unique, kinds, True, True)


def feature_tables(manifest: Path) -> list[str]:
    """Return the names of the feature tables that dbt declares: views and tables with outcomes, sorted."""
    return sorted(_feature_models(manifest))


def judged_tables(sources: Iterable[Source], manifest: Path) -> list[str]:
    """Return the tables whose months are judged by a suite: raw/<source>, then features/<name>."""
    return [source.table for source in sources] + [f"features/{name}" for name in feature_tables(manifest)]


def refuse_strangers(sources: Iterable[Source], manifest: Path, folder: Path = FOLDER) -> None:
    """Raise ValueError that names the suite files which belong to no table: nobody would ever run them."""
    tables = judged_tables(sources, manifest)
    known = {_file_of(folder, table) for table in tables}
    strangers = sorted(path.name for path in folder.glob("*.json") if path not in known)
    if strangers:
        raise ValueError(
            f"suite files {strangers} in {folder} belong to no table; rename them to <stage>_<table>.json "
            f"or remove them; the tables are {sorted(tables)}"
        )


def kind_of(dtype: pl.DataType) -> str:
    """Return the kind of a column's type, its name where there is no kind for it."""
    if dtype.is_integer():
        return "int"
    if dtype.is_float():
        return "float"
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return "instant"
    return {pl.String: "string", pl.Boolean: "bool"}.get(dtype.base_type(), str(dtype))


def columns_of(expectation: Expectation) -> list[str]:
    """Return the columns that an expectation names."""
    kwargs = expectation["kwargs"]
    single = [kwargs[name] for name in _NAMES if name in kwargs]
    return single + [column for name in _LISTS for column in kwargs.get(name, [])]


def roots_of(sql: str) -> list[str]:
    """Return the columns that a computed column is computed from."""
    return pl.sql_expr(sql).meta.root_names()


def _contract(suite: Suite, partition: str) -> list[Expectation]:
    one = len(suite.unique) == 1
    uniqueness = (
        _expectation("expect_column_values_to_be_unique", column=suite.unique[0])
        if one
        else _expectation("expect_compound_columns_to_be_unique", column_list=list(suite.unique))
    )
    known = _expectation(
        "expect_column_pair_values_a_to_be_greater_than_b", column_A=CREATED, column_B=EVENT, or_equal=True
    )
    rows = [] if suite.may_be_empty else [_expectation("expect_table_row_count_to_be_between", min_value=1)]
    required = dict.fromkeys((*suite.key, *TIME_COLUMNS))
    never_null = [_expectation("expect_column_values_to_not_be_null", column=column) for column in required]
    return [*rows, uniqueness, *never_null, known, *(_in_month(partition) if suite.partitioned else [])]


def _in_month(partition: str) -> list[Expectation]:
    start = datetime.strptime(partition, "%Y-%m").replace(tzinfo=UTC)
    end = (start + timedelta(days=32)).replace(day=1)
    between = "expect_column_values_to_be_between"
    return [_expectation(between, column=EVENT, min_value=start - SLACK, max_value=end + SLACK)]


def _expectation(kind: str, **kwargs: Any) -> Expectation:
    return {"type": kind, "kwargs": kwargs, "meta": {"notes": "Follows from the table's declaration."}}


def _suite(
    folder: Path,
    table: str,
    key: tuple[str, ...],
    unique: tuple[str, ...],
    kinds: Mapping[str, str | None],
    partitioned: bool,
    may_be_empty: bool,
) -> Suite:
    path = _file_of(folder, table)
    written = _read(path) if path.exists() else {}
    suite = Suite(
        table,
        key,
        unique,
        kinds,
        partitioned,
        may_be_empty,
        written.get("computed", {}),
        tuple(written.get("expectations", [])),
    )
    _refuse_unknown(path, suite)
    return suite


def _file_of(folder: Path, table: str) -> Path:
    return folder / f"{table.replace('/', '_')}.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        written = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"suite file {path} is not JSON: {error}") from error
    if not isinstance(written, dict) or not set(written) <= _FIELDS:
        raise ValueError(f"suite file {path} must be an object with nothing but {sorted(_FIELDS)}")
    for number, item in enumerate(written.get("expectations", []), 1):
        if not isinstance(item, dict) or not {"type", "kwargs"} <= set(item) <= {"type", "kwargs", "meta"}:
            raise ValueError(f"suite file {path}: expectation {number} must have type, kwargs and, if need be, meta")
    return written


def _refuse_unknown(path: Path, suite: Suite) -> None:
    known = {*suite.kinds, *suite.computed}
    for name, sql in suite.computed.items():
        try:
            missing = sorted(set(roots_of(sql)) - set(suite.kinds))
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"suite file {path}: computed column {name!r} is not SQL: {error}") from error
        if missing or name in suite.kinds:
            what = f"names {missing}" if missing else "has the name of a column"
            has = f"{suite.table} has {list(suite.kinds)}"
            raise ValueError(f"suite file {path}: computed column {name!r} {what}; {has}")
    for item in suite.own:
        missing = sorted(set(columns_of(item)) - known)
        if missing:
            has = f"{suite.table} has {sorted(known)}"
            raise ValueError(f"suite file {path}: {item['type']} names {missing}; {has}")


def _feature_models(manifest: Path) -> dict[str, Node]:
    models = [n for n in read_manifest(manifest)["nodes"].values() if n["resource_type"] == "model"]
    return {table_of(n): n for n in models if {"feature_view", "outcome"} & set(n["config"].get("meta", {}))}
