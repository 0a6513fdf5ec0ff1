import json

from checks.column_mentions import dbt_tests_on, expectations_on, files_naming

SUITE = {
    "computed": {"gained": "late - held", "other": "lateness + 1"},
    "expectations": [
        {"type": "expect_not_null", "kwargs": {"column": "late"}},
        {"type": "expect_between", "kwargs": {"column": "gained", "min_value": 0}},
        {"type": "expect_pair", "kwargs": {"column_A": "bus", "column_B": "late"}},
        {"type": "expect_between", "kwargs": {"column": "other", "min_value": 0}},
    ],
}


def test_expectations_on_a_column_and_on_what_a_suite_computes_from_it_are_found(tmp_path):
    (tmp_path / "raw_trips.json").write_text(json.dumps(SUITE))
    assert expectations_on(tmp_path, "raw/trips", "late") == [
        "expect_not_null on late (raw_trips.json)",
        "expect_between on gained (raw_trips.json)",
        "expect_pair on late (raw_trips.json)",
    ]
    assert expectations_on(tmp_path, "raw/buses", "late") == []


def test_dbt_tests_that_name_a_column_in_their_arguments_are_found(tmp_path):
    model = {"resource_type": "model", "schema": "features", "alias": "state", "depends_on": {"nodes": []}}
    unique = {"kwargs": {"combination": ["bus", "event_timestamp"]}}

    def test(name, reads, **told):
        return {"resource_type": "test", "name": name, "depends_on": {"nodes": reads}, **told}

    nodes = {
        "model.state": model,
        "test.1": test("unique_bus", ["model.state"], test_metadata=unique),
        "test.2": test("not_null_late", ["model.state"], column_name="late"),
        "test.3": test("elsewhere", ["model.other"], column_name="bus"),
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"nodes": nodes}))
    assert dbt_tests_on(tmp_path / "manifest.json", "features/state", "bus") == ["dbt test unique_bus"]
    assert dbt_tests_on(tmp_path / "manifest.json", "features/state", "late") == ["dbt test not_null_late"]


def test_a_notebook_counts_if_it_names_table_and_column(tmp_path):
    (tmp_path / "late_trips.py").write_text("lake.read('raw/trips').select('late')")
    (tmp_path / "buses.ipynb").write_text("read('raw/buses').select('late')")
    assert files_naming(tmp_path, ("raw/trips", "late")) == ["late_trips.py"]
