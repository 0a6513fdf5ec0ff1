import json

import duckdb
import pytest

from ml.recipe import collect_recipe, recipe_of

FLIGHTS = '"warehouse"."raw"."flights"'


def model(folder, name, reads, **config):
    return {
        "unique_id": f"model.p.{name}",
        "resource_type": "model",
        "fqn": ["p", folder, name],
        "alias": name,
        "database": "warehouse",
        "schema": folder,
        "relation_name": f'"warehouse"."{folder}"."{name}"',
        "depends_on": {"nodes": reads},
        "config": {"meta": config},
    }


@pytest.fixture
def made(tmp_path):
    """A manifest, a warehouse with the staging view, and the results of a run that built only the feature table."""
    models = [
        model("staging", "stg", ["source.p.s.flights"]),
        model("features", "state", ["model.p.stg"], look_back_months=2),
    ]
    source = {"name": "flights", "schema": "raw", "relation_name": FLIGHTS}
    content = {"nodes": {m["unique_id"]: m for m in models}, "sources": {"source.p.s.flights": source}}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with duckdb.connect(tmp_path / "warehouse.duckdb") as connection:
        connection.execute("create schema raw; create schema staging; create table raw.flights as select 1 as x")
        connection.execute("create view staging.stg as select x from raw.flights -- all\n")
    results = {"results": [{"unique_id": "model.p.state", "compiled_code": "select x from staging.stg"}]}
    return tmp_path / "manifest.json", results, tmp_path / "warehouse.duckdb"


def test_a_recipe_comes_back_from_the_commit_as_it_was(made):
    recipe = collect_recipe(*made, "state", {"flights": 3, "weather": 9})
    assert recipe.raw == {"raw/flights": 3}
    assert recipe.relations == {"raw/flights": FLIGHTS}
    assert (recipe.look_back_months, recipe.schemas) == (2, ("raw", "staging"))
    metadata = json.loads(json.dumps({"run": "r", **recipe.to_metadata()}))
    assert recipe_of(metadata) == recipe
    assert metadata["raw"] == {"raw/flights": 3}
    assert recipe_of({"run": "r"}) is None


def test_views_of_an_earlier_run_are_read_from_the_warehouse(made):
    (view,) = collect_recipe(*made, "state", {"flights": 3}).views
    assert view.lower().startswith("create or replace view staging.stg as select")
    manifest, results, warehouse = made
    results["results"].append({"unique_id": "model.p.stg", "compiled_code": "select 2 as x"})
    assert "select 2 as x" in collect_recipe(manifest, results, warehouse, "state", {"flights": 3}).views[0]


def test_what_is_neither_raw_nor_a_view_is_refused(made):
    with duckdb.connect(made[2]) as connection:
        connection.execute("drop view staging.stg; create table staging.stg as select 1 as x")
    with pytest.raises(LookupError, match=r"no view staging\.stg"):
        collect_recipe(*made, "state", {"flights": 3})
