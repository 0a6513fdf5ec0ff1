import json

import pytest

from ml.column_graph import ColumnGraph
from ml.compiled_sql import graph_of_builds, graph_of_recipe
from ml.recipe import Recipe

RAW = {"raw/trips": ("trip", "bus", "held", "late"), "raw/buses": ("bus", "seats")}
STAGING = "select trip, bus, late - held as gained, held from raw.trips where trip is not null"
STATE = "select bus, max(gained) as most_gained, count(*) as trips from staging.stg_trips group by bus"
SEATS = "select bus, seats from raw.buses"


@pytest.fixture
def graph():
    return ColumnGraph(RAW, {"staging/stg_trips": STAGING, "features/state": STATE, "features/seats": SEATS})


def test_a_feature_is_traced_down_to_raw_columns(graph):
    assert graph.parents(("features/state", "most_gained")) == (("staging/stg_trips", "gained"),)
    assert graph.raw_columns(("features/state", "most_gained")) == (("raw/trips", "held"), ("raw/trips", "late"))
    assert graph.raw_columns(("features/state", "trips")) == ()
    assert graph.row_columns("features/state") == (("raw/trips", "bus"), ("raw/trips", "trip"))


def test_all_that_rests_on_a_raw_column_is_found_and_nothing_else(graph):
    touched = graph.touched(("raw/trips", "late"))
    assert set(touched.values) == {("staging/stg_trips", "gained"), ("features/state", "most_gained")}
    assert touched.rows == {}
    assert (touched.named, touched.built_on) == (("staging/stg_trips",), ("features/state",))


def test_a_column_by_which_rows_are_grouped_chooses_the_rows(graph):
    touched = graph.touched(("raw/trips", "bus"))
    assert touched.rows == {"features/state": ("staging/stg_trips", "bus")}
    assert graph.touched(("raw/buses", "seats")).built_on == ()


def test_an_unknown_column_is_refused_with_the_near_ones(graph):
    with pytest.raises(LookupError, match=r"raw/trips\.latee; near are raw/trips\.late"):
        graph.touched(("raw/trips", "latee"))
    with pytest.raises(LookupError, match=r"near are raw/trips\.late"):
        graph.touched(("raw/trip", "late"))
    with pytest.raises(LookupError, match=r"raw/trips\.nope; raw/trips has trip, bus, held, late$"):
        graph.touched(("raw/trips", "nope"))
    with pytest.raises(LookupError, match="there are the tables features/seats"):
        graph.touched(("elsewhere/x", "y"))


def test_sql_that_cannot_be_read_is_told_with_all_that_stands_on_it():
    graph = ColumnGraph(RAW, {"staging/stg_trips": "select what from raw.trips", "features/state": STATE})
    assert set(graph.failed) == {"staging/stg_trips", "features/state"}
    assert "staging/stg_trips, whose columns are not known" in graph.failed["features/state"]
    assert graph.parents(("features/state", "most_gained")) == ()
    with pytest.raises(LookupError, match=r"the columns of features/state are not known"):
        graph.require(("features/state", "most_gained"))


def test_a_version_is_read_by_the_sql_that_made_it():
    view = f'create or replace view "w"."staging"."stg_trips" as\n{STAGING}'
    recipe = Recipe({"raw/trips": 3}, "w", ("raw", "staging"), {"raw/trips": "raw.trips"}, (view,), STATE, 1)
    graph = graph_of_recipe("features/state", recipe, RAW)
    assert graph.failed == {}
    assert graph.raw_columns(("features/state", "bus")) == (("raw/trips", "bus"),)


def node(name, reads, sql=None, checksum="1"):
    schema, _, table = name.partition("/")
    found = {"resource_type": "model", "schema": schema, "alias": table, "checksum": {"checksum": checksum}}
    return {**found, "depends_on": {"nodes": reads}, **({"compiled_code": sql} if sql else {})}


def test_what_was_never_built_or_has_changed_since_is_said(tmp_path):
    declared = {
        "model.state": node("features/state", ["model.stg"]),
        "model.stg": node("staging/stg_trips", ["source.trips"], checksum="2"),
        "model.seats": node("features/seats", ["source.buses"]),
    }
    built = {
        "model.stg": node("staging/stg_trips", ["source.trips"], STAGING),
        "model.state": node("features/state", ["model.stg"], STATE),
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"nodes": declared}))
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "manifest.json").write_text(json.dumps({"nodes": built}))
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "manifest.json").write_text('{"nodes": {"mod')
    graph = graph_of_builds(tmp_path / "manifest.json", tmp_path, RAW)
    assert graph.raw_columns(("features/state", "most_gained")) == (("raw/trips", "held"), ("raw/trips", "late"))
    assert set(graph.failed) == {"features/seats", "staging/stg_trips"}
    assert "has not built it here" in graph.failed["features/seats"]
    assert "has changed since" in graph.failed["staging/stg_trips"]
