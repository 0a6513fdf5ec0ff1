import json

import duckdb
import pytest

from checks.dbt_tests import FAILING_ROWS, built_tables, check_dbt_tests, errors
from checks.outcome import RULE

MODEL = {"resource_type": "model", "name": "state", "alias": "state", "fqn": ["headwater", "features", "state"]}
STAGING = {"resource_type": "model", "name": "stg", "alias": "stg", "fqn": ["headwater", "staging", "stg"]}
TESTS = {
    f"test.headwater.{name}.1": {
        "resource_type": "test",
        "name": name,
        "attached_node": "model.headwater.state",
        "column_name": "delay",
        "depends_on": {"nodes": ["model.headwater.state"]},
    }
    for name in ("not_null", "in_range")
}


@pytest.fixture
def manifest(tmp_path):
    nodes = {"model.headwater.state": MODEL, "model.headwater.stg": STAGING, **TESTS}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"nodes": nodes}))
    return path


def run(**statuses):
    found = {"model.headwater.state": "success", "model.headwater.stg": "success"}
    found |= {f"test.headwater.{name}.1": status for name, status in statuses.items()}
    results = [
        {"unique_id": i, "status": s, "failures": 7 if s == "fail" else 0, "message": s} for i, s in found.items()
    ]
    return {"results": results}


def test_only_feature_tables_that_were_built_are_exported(manifest):
    assert built_tables(manifest, run()) == ["state"]


def test_all_tests_passing_is_a_pass(manifest):
    outcome = check_dbt_tests(manifest, run(not_null="pass", in_range="warn"), "state")
    assert outcome.passed
    assert outcome.summary == "2 of 2 dbt tests passed"


def test_a_failing_test_fails_the_table_and_is_counted(manifest):
    outcome = check_dbt_tests(manifest, run(not_null="pass", in_range="fail"), "state")
    assert not outcome.passed
    assert "in_range: fail, 7 rows" in outcome.summary
    assert errors(run(in_range="fail")) == ["in_range fail: fail"]


def test_failed_tests_come_first_with_the_rows_that_dbt_stored(manifest, tmp_path):
    warehouse = tmp_path / "warehouse.duckdb"
    with duckdb.connect(warehouse) as connection:
        connection.execute("create schema failures")
        connection.execute(
            "create table failures.not_null as select 'late; lost' as rule, 'N1' as tailnum, range as n from range(50)"
        )
    results = run(in_range="pass", not_null="fail")
    for result in results["results"]:
        result["relation_name"] = '"warehouse"."failures"."not_null"'
    outcome = check_dbt_tests(manifest, results, "state", warehouse)
    assert [row["test"] for row in outcome.table] == ["not_null", "in_range"]
    assert outcome.summary == "1 of 2 dbt tests passed; not_null: fail, 7 rows (late; lost), such as tailnum=N1, n=0"
    assert outcome.failing.columns == [RULE, "tailnum", "n"]
    assert outcome.failing[RULE].unique().to_list() == ["not_null: late; lost"]
    assert outcome.failing.height == FAILING_ROWS


def test_rows_that_dbt_did_not_store_change_no_verdict(manifest, tmp_path):
    duckdb.connect(tmp_path / "warehouse.duckdb").close()
    results = run(in_range="fail", not_null="pass")
    for result in results["results"]:
        result["relation_name"] = '"warehouse"."failures"."nothing"'
    outcome = check_dbt_tests(manifest, results, "state", tmp_path / "warehouse.duckdb")
    assert not outcome.passed
    assert outcome.failing is None


def test_a_test_that_did_not_run_is_not_a_pass(manifest):
    outcome = check_dbt_tests(manifest, run(not_null="pass"), "state")
    assert not outcome.passed
    assert "in_range: did not run" in outcome.summary


def test_a_table_without_tests_is_not_published_unchecked(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"nodes": {"model.headwater.state": MODEL}}))
    assert "has no dbt tests" in check_dbt_tests(path, run(), "state").summary


def test_what_dbt_says_of_a_failed_model_is_told_whole_without_its_macros():
    message = "Compilation Error in model state (models/state.sql)\n  Binder Error: no column loafs\n\n  > in macro x"
    results = {"results": [{"unique_id": "model.headwater.state", "status": "error", "message": message}]}
    told = "state error: Compilation Error in model state (models/state.sql) Binder Error: no column loafs"
    assert errors(results) == [told]
