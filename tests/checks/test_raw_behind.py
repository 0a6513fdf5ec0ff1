"""The raw rows behind features, on the bus company's trips."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from checks.raw_behind import Asked, find_raw_behind
from ml.compiled_sql import graph_of_recipe
from ml.history import CREATED, EVENT
from ml.rebuild import Cut, Made, RawTables, Rebuilder
from tests.checks.bus_world import BUS, BUS_SQL, DEPOT, DEPOT_SQL, TRIPS, bus_world

MONTH = ("2013-07",)
SQL = {BUS.name: BUS_SQL, DEPOT.name: DEPOT_SQL}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return bus_world(tmp_path_factory.mktemp("lake"))


@pytest.fixture
def rebuilder(world):
    return Rebuilder(RawTables(world.lake, [TRIPS]), threads=1)


def made_of(world, view):
    return Made(MONTH, world.made(SQL[view.name]).recipe)


def graph_of(world, view):
    columns = world.lake.read("raw/trips").collect_schema().names()
    return graph_of_recipe(f"features/{view.name}", made_of(world, view).recipe, {"raw/trips": columns})


def row_of(world, rebuilder, view, place):
    """A feature row of the middle of the month, as the view's SQL makes it of everything."""
    columns = [*view.join_keys, EVENT, CREATED, *(field.name for field in view.fields)]
    rows = rebuilder._rows(made_of(world, view), columns, MONTH, Cut())
    return rows.sort(EVENT, *view.join_keys)[place : place + 1]


def asked(view, row, moment=None):
    keys = {key: row[key][0] for key in view.join_keys}
    return Asked(keys, row.select(field.name for field in view.fields), row[EVENT][0], moment or row[EVENT][0])


def behind(world, rebuilder, view, question):
    return find_raw_behind(rebuilder, view, made_of(world, view), question, graph_of(world, view))


def trips(world):
    return world.lake.read("raw/trips", world.version).collect()


def test_the_rows_behind_a_feature_are_the_bus_s_own_of_the_last_day(world, rebuilder):
    row = row_of(world, rebuilder, BUS, 900)
    found = behind(world, rebuilder, BUS, asked(BUS, row))
    assert found.again
    assert (found.entity, found.span) == (("raw/trips.bus",), timedelta(days=1))
    rows = found.rows["raw/trips"]
    assert rows.height == found.count > 1
    original = trips(world).filter(pl.col(EVENT) == pl.col(CREATED), bus=row["bus"][0])
    last_day = original.filter(pl.col(EVENT).is_between(row[EVENT][0] - timedelta(days=1), row[EVENT][0]))
    assert set(rows["trip"]) == set(last_day["trip"])
    assert rows["late"][0] == row["last_late"][0]
    assert rows["late"].mean() == row["mean_late"][0]


def test_a_late_correction_of_a_trip_is_not_behind_what_was_served_before_it(world, rebuilder):
    corrected = trips(world).filter(pl.col(CREATED) > pl.col(EVENT), partition_key=MONTH[0]).sort("trip")
    trip, columns = corrected.row(3, named=True), [*BUS.join_keys, EVENT, CREATED, "last_late", "mean_late"]
    rows = rebuilder._rows(made_of(world, BUS), columns, MONTH, Cut(trip[EVENT]))
    row = rows.filter(pl.col(EVENT) == trip[EVENT], bus=trip["bus"])
    found = behind(world, rebuilder, BUS, asked(BUS, row)).rows["raw/trips"]
    (known,) = found.filter(trip=trip["trip"]).to_dicts()
    assert known[CREATED] == known[EVENT] == trip[EVENT]
    assert known["late"] == trip["late"] - 40 == row["last_late"][0]


def test_of_a_bus_under_way_only_its_departure_is_behind_the_depot_s_row(world, rebuilder):
    row = row_of(world, rebuilder, DEPOT, 900)
    found = behind(world, rebuilder, DEPOT, asked(DEPOT, row))
    assert found.again
    newest = found.rows["raw/trips"].row(0, named=True)
    assert newest[EVENT] is None
    assert newest["late"] is None
    assert newest["planned"] + timedelta(minutes=newest["held"]) <= row[EVENT][0]


def test_a_value_that_the_raw_rows_do_not_make_is_said(world, rebuilder):
    row = row_of(world, rebuilder, BUS, 900).with_columns(pl.col("last_late") + 1)
    found = behind(world, rebuilder, BUS, asked(BUS, row))
    assert not found.again
    assert found.entity == ()


def test_a_key_that_cannot_be_traced_asks_for_rows_of_all(world, rebuilder):
    row = row_of(world, rebuilder, BUS, 900)
    made = made_of(world, BUS)
    unread = replace(made.recipe, query="select what from nowhere")
    graph = graph_of_recipe(f"features/{BUS.name}", unread, {"raw/trips": ["bus"]})
    found = find_raw_behind(rebuilder, BUS, made, asked(BUS, row), graph)
    assert found.again
    assert found.entity == ()
    assert set(found.rows["raw/trips"]["bus"]) > {row["bus"][0]}


def test_raw_rows_that_are_gone_are_said_with_the_table(tmp_path):
    world = bus_world(tmp_path, count=400)
    rebuilder = Rebuilder(RawTables(world.lake, [TRIPS]), threads=1)
    row = row_of(world, rebuilder, BUS, 100)
    for path in (tmp_path / "raw" / "trips").rglob("*.parquet"):
        path.unlink()
    with pytest.raises(LookupError, match="raw/trips"):
        behind(world, Rebuilder(RawTables(world.lake, [TRIPS])), BUS, asked(BUS, row))
