"""dbt's tests as verdicts: what a run's artifacts say of each feature table, and the rows it stored. Runs nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from checks.outcome import RULE, Outcome
from ml.dbt_manifest import Node, read_manifest, table_of
from ml.warehouse import read_failing_rows

CHECK = "dbt_tests"
FEATURES_FOLDER = "features"
GOOD = ("success", "pass", "warn")
FAILING_ROWS = 20  # a rule of a test
EXAMPLE_COLUMNS = 8
_LONGEST = 600  # characters of what dbt says of a failure


def built_tables(manifest: Path, results: Mapping[str, Any]) -> list[str]:
    """Return the names of the feature tables that a dbt run built, sorted."""
    built = {r["unique_id"] for r in results["results"] if r["status"] == "success"}
    return sorted(table for unique_id, table in _tables(manifest).items() if unique_id in built)


def check_dbt_tests(manifest: Path, results: Mapping[str, Any], name: str, warehouse: Path | None = None) -> Outcome:
    """Return the outcome of all tests attached to the feature table `name` in a run, failed ones first.

    No test at all, or one that did not run, is a failure: nothing is published unchecked. With the `warehouse` in which
    dbt stored them, the outcome has up to 20 rows that break each rule of a test; nobody may write it meanwhile.
    """
    nodes, tables = read_manifest(manifest)["nodes"], _tables(manifest)
    tests = {i: n for i, n in nodes.items() if n["resource_type"] == "test"}
    attached = {i for i, test in tests.items() if tables.get(_model_of(test)) == name}
    ran = {r["unique_id"]: r for r in results["results"] if r["unique_id"] in attached}
    if not attached:
        return Outcome(False, f"{name} has no dbt tests; add some to its YAML in dbt_project/models/features")
    failed = [i for i in sorted(attached) if i not in ran or ran[i]["status"] not in GOOD]
    failing = {i: _failing(nodes[i], ran[i], warehouse) for i in failed if i in ran and warehouse is not None}
    rows = tuple(_row(nodes[i], ran.get(i), failing.get(i)) for i in (*failed, *sorted(attached - set(failed))))
    kept = [frame for frame in failing.values() if frame is not None]
    summary = f"{len(rows) - len(failed)} of {len(rows)} dbt tests passed"
    if failed:
        summary += "; " + "; ".join(_line(row) for row in rows[: len(failed)][:3])
    return Outcome(
        not failed, summary, {"tests": rows}, rows, pl.concat(kept, how="diagonal_relaxed") if kept else None
    )


def errors(results: Mapping[str, Any]) -> list[str]:
    """Return one line for every model or test of a run that did not succeed."""
    return [
        f"{_short(r['unique_id'])} {r['status']}: {_cause(r.get('message'))}"
        for r in results["results"]
        if r["status"] not in (*GOOD, "skipped")
    ]


def _cause(message: str | None) -> str:
    """Return what dbt says in a line: what failed, why and where, less the stack of macros below."""
    lines = [line.strip() for line in (message or "").strip().partition("\n  > in macro")[0].splitlines()]
    return " ".join(filter(None, lines))[:_LONGEST]


def _short(unique_id: str) -> str:
    """model.headwater.state.v2 -> state.v2; a test's hash is left out."""
    kind, _, *name = unique_id.split(".")
    return ".".join(name if kind == "model" else name[:1])


def _tables(manifest: Path) -> dict[str, str]:
    """Return the table of each model in the features folder, by unique id."""
    nodes = read_manifest(manifest)["nodes"]
    models = {i: n for i, n in nodes.items() if n["resource_type"] == "model" and FEATURES_FOLDER in n["fqn"]}
    return {unique_id: table_of(node) for unique_id, node in models.items()}


def _model_of(test: Node) -> str:
    return str(test.get("attached_node") or next(iter(test["depends_on"]["nodes"]), ""))


def _failing(node: Node, result: Mapping[str, Any], warehouse: Path | None) -> pl.DataFrame | None:
    """Return rows that failed a test, with the test and what they break in it in the column `rule`."""
    if warehouse is None or result["status"] != "fail" or not result.get("relation_name"):
        return None
    try:
        rows = read_failing_rows(warehouse, result["relation_name"], FAILING_ROWS, RULE)
    except LookupError:
        return None
    broken = pl.format("{}: {}", pl.lit(node["name"]), RULE) if RULE in rows.columns else pl.lit(node["name"])
    return rows.select(broken.alias(RULE), pl.all().exclude(RULE))


def _row(node: Node, result: Mapping[str, Any] | None, failing: pl.DataFrame | None) -> dict[str, Any]:
    found = failing if failing is not None else pl.DataFrame({RULE: []}, schema={RULE: pl.String})
    return {
        "test": node["name"],
        "column": node.get("column_name") or "",
        "status": result["status"] if result else "did not run",
        "failures": (result or {}).get("failures") or 0,
        "broken": ", ".join(found[RULE].str.strip_prefix(f"{node['name']}: ").unique(maintain_order=True)),
        "such as": _example(found),
        "description": node.get("description") or "",
        "message": _cause((result or {}).get("message")) if result and result["status"] == "error" else "",
    }


def _line(row: Mapping[str, Any]) -> str:
    line = f"{row['test']}: {row['status']}, {row['failures']} rows"
    return line + (f" ({row['broken']}), such as {row['such as']}" if row["such as"] else "")


def _example(rows: pl.DataFrame) -> str:
    if rows.is_empty():
        return ""
    first = rows.drop(RULE).row(0, named=True)
    return ", ".join([f"{name}={value}" for name, value in first.items() if value is not None][:EXAMPLE_COLUMNS])
