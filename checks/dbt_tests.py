"""dbt's tests as verdicts: what a run's artifacts say of each feature table. Reads artifacts, runs nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checks.outcome import Outcome
from ml.dbt_manifest import Node, read_manifest, table_of

CHECK = "dbt_tests"
FEATURES_FOLDER = "features"
GOOD = ("success", "pass", "warn")


def built_tables(manifest: Path, results: Mapping[str, Any]) -> list[str]:
    """Return the names of the feature tables that a dbt run built, sorted."""
    built = {r["unique_id"] for r in results["results"] if r["status"] == "success"}
    return sorted(table for unique_id, table in _tables(manifest).items() if unique_id in built)


def check_dbt_tests(manifest: Path, results: Mapping[str, Any], name: str) -> Outcome:
    """Return the outcome of all tests attached to the feature table `name` in a run.

    No test at all, or one that did not run, is a failure: nothing is published unchecked.
    """
    nodes, tables = read_manifest(manifest)["nodes"], _tables(manifest)
    tests = {i: n for i, n in nodes.items() if n["resource_type"] == "test"}
    attached = {i for i, test in tests.items() if tables.get(_model_of(test)) == name}
    ran = {r["unique_id"]: r for r in results["results"] if r["unique_id"] in attached}
    rows = tuple(_row(nodes[i], ran.get(i)) for i in sorted(attached))
    failed = [row for row in rows if row["status"] not in GOOD]
    if not rows:
        return Outcome(False, f"{name} has no dbt tests; add some to its YAML in dbt_project/models/features")
    summary = f"{len(rows) - len(failed)} of {len(rows)} dbt tests passed"
    if failed:
        summary += "; " + "; ".join(f"{r['test']}: {r['status']}, {r['failures']} rows" for r in failed[:3])
    return Outcome(not failed, summary, {"tests": rows}, rows)


def errors(results: Mapping[str, Any]) -> list[str]:
    """Return one line for every model or test of a run that did not succeed."""
    return [
        f"{_short(r['unique_id'])} {r['status']}: {_first_line(r.get('message'))}"
        for r in results["results"]
        if r["status"] not in (*GOOD, "skipped")
    ]


def _first_line(message: str | None) -> str:
    return (message or "").strip().partition("\n")[0]


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


def _row(node: Mapping[str, Any], result: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "test": node["name"],
        "column": node.get("column_name") or "",
        "status": result["status"] if result else "did not run",
        "failures": (result or {}).get("failures") or 0,
    }
