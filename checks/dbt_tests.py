"""dbt's tests as verdicts: what a run's artifacts say of each feature table. Reads artifacts, runs nothing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from checks.outcome import Outcome

CHECK = "dbt_tests"
FEATURES_FOLDER = "features"
GOOD = ("success", "pass", "warn")


def built_tables(manifest: Path, results: Mapping[str, Any]) -> list[str]:
    """Return the names of the feature tables that a dbt run built, sorted."""
    nodes = json.loads(manifest.read_text())["nodes"]
    built = {r["unique_id"] for r in results["results"] if r["status"] == "success"}
    return sorted(
        node["name"]
        for unique_id, node in nodes.items()
        if unique_id in built and node["resource_type"] == "model" and FEATURES_FOLDER in node["fqn"]
    )


def check_dbt_tests(manifest: Path, results: Mapping[str, Any], name: str) -> Outcome:
    """Return the outcome of all tests attached to the feature table `name` in a run.

    No test at all, or one that did not run, is a failure: nothing is published unchecked.
    """
    nodes = json.loads(manifest.read_text())["nodes"]
    attached = {i for i, n in nodes.items() if n["resource_type"] == "test" and _model_of(n) == name}
    ran = {r["unique_id"]: r for r in results["results"] if r["unique_id"] in attached}
    rows = tuple(_row(nodes[i], ran.get(i)) for i in sorted(attached))
    failed = [row for row in rows if row["status"] not in GOOD]
    if not rows:
        return Outcome(False, f"{name} has no dbt tests; add some to dbt_project/models/features/{name}.yml")
    summary = f"{len(rows) - len(failed)} of {len(rows)} dbt tests passed"
    if failed:
        summary += "; " + "; ".join(f"{r['test']}: {r['status']}, {r['failures']} rows" for r in failed[:3])
    return Outcome(not failed, summary, {"tests": rows}, rows)


def errors(results: Mapping[str, Any]) -> list[str]:
    """Return one line for every model or test of a run that did not succeed."""
    return [
        f"{r['unique_id'].split('.')[2]} {r['status']}: {_first_line(r.get('message'))}"
        for r in results["results"]
        if r["status"] not in (*GOOD, "skipped")
    ]


def _first_line(message: str | None) -> str:
    return (message or "").strip().partition("\n")[0]


def _model_of(test: Mapping[str, Any]) -> str:
    attached = test.get("attached_node") or next(iter(test["depends_on"]["nodes"]), "")
    return str(attached).split(".")[-1]


def _row(node: Mapping[str, Any], result: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "test": node["name"],
        "column": node.get("column_name") or "",
        "status": result["status"] if result else "did not run",
        "failures": (result or {}).get("failures") or 0,
    }
