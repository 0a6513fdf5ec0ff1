"""Partitions follow the sources: spans side by side, tables made from two of them, gaps, and months still to come."""

import json
from dataclasses import replace

import dagster as dg
import pytest

from assets.partitions import partitions_of, table_months
from assets.runs import materialize
from ml.dbt_lineage import Tables, problem_of, stands_on
from ml.months import Months
from ml.source import CsvReader
from tests.ml.test_landing import gauges

SPANS = {"river": Months("2010-03", "2010-09"), "rain": Months("2012-01"), "places": None}
MADE = {"stg_river": "river", "stg_rain": "rain", "places_known": "places", "both": ("stg_river", "stg_rain")}


def sources():
    made = [gauges(CsvReader("x.csv"), name=name, months=span) for name, span in SPANS.items() if span]
    return [*made, gauges(CsvReader("x.csv"), name="places", months=None, partition=None)]


@pytest.fixture
def manifest(tmp_path):
    nodes = {}
    for name, parents in MADE.items():
        ids = [f"source.{parents}"] if isinstance(parents, str) else [f"model.{parent}" for parent in parents]
        node = {"resource_type": "model", "alias": name, "config": {}, "depends_on": {"nodes": ids}, "columns": {}}
        nodes[f"model.{name}"] = node
    groups = {"river": "water", "rain": "water", "places": "maps"}
    content = {
        "nodes": nodes,
        "sources": {f"source.{name}": {"name": name, "source_name": group} for name, group in groups.items()},
    }
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(content))
    return path


def test_each_table_has_the_months_of_the_sources_that_it_is_made_from(manifest):
    months = table_months(manifest, sources())
    assert months["stg_river"] == SPANS["river"]
    assert months["stg_rain"] == SPANS["rain"]
    assert months["both"] == months["places_known"] == Months("2010-03")


def test_dagster_knows_the_months_of_a_span_and_none_besides():
    span = Months("2010-03", "2010-06", without=("2010-05",))
    assert list(partitions_of(span).get_partition_keys()) == ["2010-03", "2010-04", "2010-06"]
    goes_on = list(partitions_of(Months("2026-01")).get_partition_keys())
    assert goes_on[:2] == ["2026-01", "2026-02"]


def test_a_run_of_a_range_leaves_out_the_month_that_has_no_rows():
    seen = []

    @dg.asset(
        partitions_def=partitions_of(Months("2010-03", "2010-06", without=("2010-05",))),
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def river(context: dg.AssetExecutionContext) -> None:
        seen.extend(context.partition_keys)

    with dg.DagsterInstance.ephemeral() as instance:
        definitions = dg.Definitions([river])
        materialize(definitions, instance, [river.key], ["2010-04", "2010-06"], told={})
    assert seen == ["2010-04", "2010-06"]


def test_a_problem_is_what_is_made_from_the_same_sources(manifest):
    assert problem_of(manifest, ["stg_river"]) == Tables(
        frozenset({"river", "rain"}), frozenset({"stg_river", "stg_rain", "both"})
    )
    assert problem_of(manifest, ["places_known"]) == Tables(frozenset({"places"}), frozenset({"places_known"}))
    with pytest.raises(LookupError, match=r"dbt makes no table \['snow'\]; it makes \['both'"):
        problem_of(manifest, ["snow"])


def test_a_source_by_month_says_which_months_it_has():
    with pytest.raises(ValueError, match=r"source 'river_gauges' lands by month .*give it months=Months\("):
        replace(gauges(CsvReader("x.csv")), months=None)


def test_a_table_stands_on_what_it_is_made_from_and_on_the_raw_tables_that_its_tests_name(manifest):
    content = json.loads(manifest.read_text())
    kwargs = {"references": [{"table": "places", "at_least": 1}], "of": "stg_rain"}
    content["nodes"]["test.found"] = {
        "resource_type": "test",
        "attached_node": "model.stg_river",
        "test_metadata": {"kwargs": kwargs},
    }
    manifest.write_text(json.dumps(content))
    assert stands_on(manifest, "stg_river") == Tables(frozenset({"river", "places"}), frozenset({"stg_river"}))
    assert stands_on(manifest, "stg_rain") == Tables(frozenset({"rain"}), frozenset({"stg_rain"}))
    both = stands_on(manifest, "both")
    assert both.raw == {"river", "rain", "places"}
    assert both.made == {"both", "stg_river", "stg_rain"}
    with pytest.raises(LookupError, match="dbt makes no table 'snow'"):
        stands_on(manifest, "snow")
