"""Every column's way, from the inputs of a model to raw columns, on the home in which the demo ran."""

import json

import dagster as dg
import onnx
import pytest

from assets.built_columns import line_columns
from assets.column_lineage import ENTRY, LINEAGE
from ml.column_page import column_page
from ml.column_texts import column_texts
from ml.dbt_manifest import read_manifest
from ml.lake import PARTITION_KEY
from ml.models import MODELS
from ml.models.flight_delay import FLIGHT_DELAY
from ml.sources import SOURCES

# Made from no column: how many rows a window holds.
COUNTED = {
    ("features/origin_congestion", "departures_3h"),
    ("features/origin_en_route", "arrivals_3h"),
    ("features/destination_congestion", "arrivals_3h"),
    ("features/carrier_performance", "flights_7d"),
    ("features/route_performance", "flights_28d"),
}


@pytest.fixture(scope="module")
def columns(line):
    return line_columns(line.platform, SOURCES, MODELS)


def recorded(line, *key):
    event = line.instance.get_latest_materialization_event(dg.AssetKey(key))
    return event.asset_materialization.metadata


def test_the_sql_of_every_table_could_be_read(columns):
    assert columns.failed == {}


def test_every_column_ends_in_raw_columns_that_exist(columns, line):
    there = {source.table: line.platform.lake.read(source.table).collect_schema() for source in SOURCES}
    for table in columns.made:
        for name in columns.columns[table]:
            raw = columns.raw_columns((table, name))
            assert raw or first_of(columns, (table, name)) in COUNTED, (table, name)
            assert all(column in there[source] for source, column in raw), (table, name)


def first_of(columns, column):
    """Where a column was made that others only copy."""
    parents = columns.parents(column)
    return first_of(columns, parents[0]) if len(parents) == 1 else column


def test_the_columns_are_those_of_the_tables_that_lie_in_the_lake(columns, line):
    for table in columns.made:
        if line.platform.lake.exists(table):
            found = line.platform.lake.read(table).collect_schema().names()
            assert set(columns.columns[table]) == set(found), table


def test_the_inputs_are_those_of_the_graph_that_serves(columns, line):
    graph = onnx.load(line.platform.registry.onnx_path(line.platform.registry.champion("flight_delay"))).graph
    assert {entry.name for entry in graph.input} == set(columns.columns["flight_delay/model"])


def test_dagster_was_told_the_same_way_of_every_column(columns, line):
    tables = [t for t in columns.made if not t.startswith(("arrival_delay", "cancellation"))]
    assert {"staging/stg_nycflights__flights", "flight_delay/model", "published/aircraft_state"} <= set(tables)
    for table in tables:
        told = recorded(line, *table.split("/"))[LINEAGE].value.deps_by_column
        assert {
            name: tuple(sorted(("/".join(dep.asset_key.path), dep.column_name) for dep in deps))
            for name, deps in told.items()
        } == {name: found for name in columns.columns[table] if (found := columns.parents((table, name)))}, table


def test_a_model_input_says_where_it_comes_from_as_text_too(line):
    shown = recorded(line, "flight_delay", "model")[ENTRY].value
    copied = "flight_delay/training_set.weather_observation__visib"
    assert f"| weather_observation__visib | {copied} | raw/weather.visib |" in shown


def test_every_table_says_its_columns_with_their_meaning(line):
    tables = (("features", "aircraft_state"), ("published", "aircraft_state"), ("flight_delay", "training_set"))
    for key in (*tables, ("flight_delay", "model")):
        schema = recorded(line, *key)["dagster/column_schema"].value
        silent = [column.name for column in schema.columns if not column.description and column.name != PARTITION_KEY]
        assert not silent, key
    inputs = {
        column.name: column.type
        for column in recorded(line, "flight_delay", "model")["dagster/column_schema"].value.columns
    }
    assert inputs["carrier"] == "STRING [rows, 1]"
    assert inputs["scheduled_departure"] == "DOUBLE [rows, 1]"


def test_the_page_holds_every_column_with_its_way_both_ways(columns, line):
    page = column_page(columns, column_texts(line.platform.manifest, SOURCES))
    data = json.loads(page.split("const DATA = ", 1)[1].split(";\n", 1)[0])
    tables = {table["name"]: table for table in data["tables"]}
    assert set(tables) == {*columns.sources, *columns.made}
    way = ("raw/flights", "staging/stg_nycflights__flights", "features/aircraft_state", "published/aircraft_state")
    assert [tables[table]["depth"] for table in way] == [0, 1, 2, 3]
    assert tables["flight_delay/model"]["depth"] == 5
    visib = next(c for c in tables["flight_delay/training_set"]["columns"] if c["name"] == "weather_observation__visib")
    assert visib["from"] == ["published/weather_observation.visib"]
    assert visib["raw"] == ["raw/weather.visib"]
    assert visib["text"] == "Visibility, in miles, 10 at most."


def test_dbt_declares_what_the_graph_shows(columns, line):
    nodes = read_manifest(line.platform.manifest)["nodes"].values()
    models = {f"{n['schema']}/{n['alias']}" for n in nodes if n["resource_type"] == "model"}
    assert models <= set(columns.made)
    assert {f"published/{view}" for view in FLIGHT_DELAY.views} <= set(columns.made)
