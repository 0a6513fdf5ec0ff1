"""The graph reads without opening the code, and nothing in it dangles."""

import sys

import dagster as dg
import polars as pl
import pytest

from assets.definitions import definitions_for
from assets.raw import raw_assets
from assets.resources import Platform
from assets.tags import stage_of
from ml.markdown import anchor
from ml.models import MODELS
from ml.models.flight_delay import FLIGHT_DELAY
from ml.settings import Settings
from ml.source import CsvReader
from tests.ml.test_landing import gauges
from tests.test_repository import ROOT


@pytest.fixture(scope="module")
def graph(line):
    return definitions_for(line.platform).resolve_asset_graph()


def test_every_asset_has_a_group_a_description_kinds_an_owner_and_tags(graph):
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.group_name != "default", key
        assert node.description, key
        assert node.kinds, key
        assert node.owners, key
        assert node.tags["stage"] == stage_of(key.to_user_string()), key


def test_no_two_assets_of_a_group_look_alike_in_the_graph(graph):
    shown = [(graph.get(key).group_name, key.path[-1]) for key in graph.get_all_asset_keys()]
    assert len(set(shown)) == len(shown)


def test_a_group_is_a_stage_of_all_tables_or_one_model(graph):
    groups = {graph.get(key).group_name: key for key in graph.get_all_asset_keys()}
    assert {"raw", "staging", "features", "published", "audit", *(spec.name for spec in MODELS)} <= set(groups)
    assert all(group == key.path[0] for group, key in groups.items())


def test_every_asset_links_to_its_documentation_and_to_the_file_that_declares_it(graph):
    for key in graph.get_all_asset_keys():
        metadata = graph.get(key).metadata
        page, _, place = metadata["docs"].url.partition("/docs/")[2].partition("#")
        headings = [line for line in (ROOT / "docs" / page).read_text().splitlines() if line.startswith("#")]
        assert not place or place in [anchor(line.lstrip("# ")) for line in headings], key
        assert f"[docs]({metadata['docs'].url})" in graph.get(key).description, key
        if key.path[0] not in ("audit", "notebooks"):
            (code,) = metadata["dagster/code_references"].code_references
            assert (ROOT / code.label).is_file(), key


def test_every_job_says_what_it_does(line):
    jobs = definitions_for(line.platform).get_repository_def().get_all_jobs()
    named = {job.name: job.description for job in jobs if not job.name.startswith("__")}
    assert set(named) == {f"{spec.name}_{word}" for spec in MODELS for word in ("retrain", "rollout", "monitor")}
    assert all(named.values())


def test_every_check_sits_on_an_asset_that_can_be_materialized(graph):
    assert graph.asset_check_keys
    for check in graph.asset_check_keys:
        assert check.asset_key in graph.materializable_asset_keys, check


def test_every_online_view_is_watched_for_freshness(graph, line):
    watched = {check.asset_key for check in graph.asset_check_keys if check.name == "online_freshness"}
    assert watched == {dg.AssetKey(["published", v.name]) for v in line.platform.feature_views if v.online}


def test_one_lineage_runs_from_every_raw_table_to_the_predictions(graph):
    upstream = graph.get_ancestor_asset_keys(dg.AssetKey(["flight_delay", "predictions"]))
    assert {dg.AssetKey(["raw", name]) for name in ("flights", "weather")} <= upstream
    assert {dg.AssetKey(["published", name]) for name in FLIGHT_DELAY.views} <= upstream


def test_every_table_that_feeds_another_stage_has_a_blocking_check(graph):
    for key in graph.get_all_asset_keys():
        stages = {graph.get(child).tags["stage"] for child in graph.get(key).child_keys}
        crosses = stages - {graph.get(key).tags["stage"]}
        if crosses and key.path[0] in ("raw", "features", "flight_delay") and key.path[-1] != "deployment":
            assert graph.get(key).check_keys, key


def test_every_table_that_the_demo_made_records_its_rows_columns_and_first_lines(graph, line):
    made = {key: line.instance.get_latest_materialization_event(key) for key in graph.get_all_asset_keys()}
    told = {k.to_user_string(): e.asset_materialization.metadata for k, e in made.items() if e is not None}
    tables = [name for name in told if line.platform.lake.exists(name)]
    assert {"raw/flights", "features/aircraft_state", "published/aircraft_state", "flight_delay/predictions"} <= set(
        tables
    )
    for name in tables:
        assert told[name]["dagster/row_count"].value == rows_of(line, name), name
        assert told[name]["preview"].value.startswith("|"), name
        assert "dagster/column_schema" in {**told[name], **graph.get(dg.AssetKey(name.split("/"))).metadata}, name


def rows_of(line, table):
    return line.platform.lake.read(table).select(pl.len()).collect().item()


def test_a_model_leads_to_its_run_and_card_and_its_deployment_says_how_to_ask_it(line):
    told = line.instance.get_latest_materialization_event(dg.AssetKey(["flight_delay", "model"])).asset_materialization
    champion = line.platform.registry.champion("flight_delay")
    assert told.metadata["mlflow run"].url.endswith(f"/runs/{champion.run_id}")
    assert told.metadata["model card's page"].url.endswith(f"/card/flight_delay-v{champion.version}.html")
    served = line.instance.get_latest_materialization_event(dg.AssetKey(["flight_delay", "deployment"]))
    asked = served.asset_materialization.metadata["triton model"].value
    assert f"version {champion.version}" in asked
    assert all(f"{field.name}=..." in asked for field in FLIGHT_DELAY.request)


def test_a_sixth_source_is_an_asset_with_its_gate_by_its_declaration_alone(tmp_path):
    path = tmp_path / "gauges.csv"
    path.write_text("station,day,level\nUpper,2013-01-30,101.5\nLower,2013-01-31,99\n")
    source = gauges(CsvReader(path))
    platform = Platform(Settings(home=tmp_path / "home"))
    assets = raw_assets([source])
    result = dg.materialize(assets, partition_key="2013-01", resources={"platform": platform})
    assert result.success
    assert result.get_asset_check_evaluations()[0].passed
    assert platform.guard.admit("features", "raw/river_gauges", ["2013-01"]) == {"2013-01": 0}


def test_the_code_location_loads_without_what_only_training_and_reports_need(line):
    slow = "{'torch', 'mlflow', 'evidently', 'feast', 'great_expectations', 'sklearn'}"
    done = line.command(
        sys.executable, "-c", f"import sys, assets.definitions; print({slow} & set(sys.modules) or 'none')"
    )
    assert done.stdout.strip() == "none", done.stdout + done.stderr
