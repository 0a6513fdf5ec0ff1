"""The graph reads without opening the code, and nothing in it dangles."""

import dagster as dg
import pytest

from assets.definitions import definitions_for
from assets.raw import raw_assets
from assets.resources import Platform
from ml.models.flight_delay import FLIGHT_DELAY
from ml.settings import Settings
from ml.source import CsvReader
from tests.ml.test_landing import gauges


@pytest.fixture(scope="module")
def graph(line):
    return definitions_for(line.platform).resolve_asset_graph()


def test_every_asset_has_a_group_a_description_kinds_and_an_owner(graph):
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.group_name != "default", key
        assert node.description, key
        assert node.kinds, key
        assert node.owners, key


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
        stages = {graph.get(child).group_name for child in graph.get(key).child_keys}
        crosses = stages - {graph.get(key).group_name}
        if crosses and key.path[0] in ("raw", "features", "flight_delay") and key.path[-1] != "deployment":
            assert graph.get(key).check_keys, key


def test_tables_record_rows_and_columns(line):
    for key in (["raw", "flights"], ["features", "aircraft_state"], ["published", "aircraft_state"]):
        event = line.instance.get_latest_materialization_event(dg.AssetKey(key))
        names = set(event.asset_materialization.metadata)
        assert names & {"dagster/row_count", "dagster/partition_row_count"}, (key, names)


def test_column_lineage_of_features_is_recorded(line):
    event = line.instance.get_latest_materialization_event(dg.AssetKey(["features", "aircraft_state"]))
    lineage = event.asset_materialization.metadata["dagster/column_lineage"].value
    assert lineage.deps_by_column["last_arr_delay"]


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
