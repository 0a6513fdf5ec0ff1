"""Where checks and notebooks name a column: expectations of its table's suite, dbt tests, files of notebooks."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml.dbt_manifest import read_manifest, table_of
from ml.sql_lineage import Column


def expectations_on(suites: Path, table: str, column: str) -> list[str]:
    """Return the expectations on raw/x or features/x that name a column, or one that the suite computes from it."""
    path = suites / f"{table.replace('/', '_')}.json"
    if not path.exists():
        return []
    suite = json.loads(path.read_text())
    computed = {name for name, sql in suite.get("computed", {}).items() if re.search(rf"\b{column}\b", sql)}
    wanted = {column, *computed}
    return [
        f"{expectation['type']} on {', '.join(sorted(named))} ({path.name})"
        for expectation in suite["expectations"]
        if (named := wanted & set(_texts(expectation.get("kwargs", {}))))
    ]


def dbt_tests_on(manifest: Path, table: str, column: str) -> list[str]:
    """Return dbt's tests on a model that name a column. Raises what `read_manifest` raises."""
    nodes = read_manifest(manifest)["nodes"]
    schema, _, name = table.partition("/")
    models = {i for i, n in nodes.items() if n["resource_type"] == "model" and _is(n, schema, name)}
    tests = (n for n in nodes.values() if n["resource_type"] == "test" and models & set(n["depends_on"]["nodes"]))
    return [f"dbt test {test['name']}" for test in tests if _names(test, column)]


def files_naming(folder: Path, column: Column) -> list[str]:
    """Return the notebooks that name both a column and its table."""
    table, name = column
    words = [rf"\b{name}\b", rf"\b{table.partition('/')[2]}\b"]
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".ipynb", ".sql")]
    return [path.name for path in files if all(re.search(word, path.read_text(errors="replace")) for word in words)]


def _is(node: Mapping[str, Any], schema: str, name: str) -> bool:
    return node["schema"] == schema and table_of(node) == name


def _names(test: Mapping[str, Any], column: str) -> bool:
    """Whether a test is on a column, or one of its arguments names it."""
    arguments = (test.get("test_metadata") or {}).get("kwargs", {})
    texts = [test.get("column_name") or "", *_texts(arguments), "" if arguments else test.get("raw_code", "")]
    return any(re.search(rf"\b{column}\b", text) for text in texts)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
