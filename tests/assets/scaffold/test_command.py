"""The scaffolds as `make` calls them: what it hands over, what it asks for, and the plan of what is in the tree."""

import subprocess

import pytest

from assets.plan import plan_of, printed
from assets.scaffold import _parser, scaffold
from tests.assets.scaffold.formatted import ROOT
from tests.assets.tree import planned_assets


def test_what_is_in_the_tree_has_a_plan_too(platform):
    expected = {
        "planes": ["raw/planes"],
        "origin_congestion": ["features/origin_congestion", "published/origin_congestion"],
        "flight_outcomes": ["features/flight_outcomes", "published/flight_outcomes"],
    }
    for name, keys in expected.items():
        ((title, lines),) = plan_of(platform, name).items()
        assert planned_assets(printed(title, lines)) == keys
    with pytest.raises(LookupError, match="nothing is called 'nope'"):
        plan_of(platform, "nope")


@pytest.mark.parametrize(
    ("given", "command"),
    [
        ("new-model NAME=late FROM=cancellation DRY=1", 'scaffold model --name="late" --from="cancellation" --dry-run'),
        ("new-model NAME=late TABLE=outcomes", 'scaffold model --name="late" --table="outcomes"'),
        ("new-source NAME=gauges FILE=a.csv", 'scaffold source --name="gauges" --file="a.csv"'),
        (
            "new-feature VIEW=aircraft NAME=heavy SQL=seats/2 TYPE=double",
            'scaffold feature --view="aircraft" --name="heavy" --sql="seats/2" --type="double"',
        ),
        (
            "new-feature VIEW=levels ENTITY=gauge:station FROM=gauges",
            'scaffold feature --view="levels" --name="" --entity="gauge:station" --from="gauges"',
        ),
        (
            "new-outcome NAME=floods ENTITY=gauge:station FROM=gauges LABEL=level>4 DRY=1",
            'scaffold outcome --name="floods" --entity="gauge:station" --from="gauges" --label="level>4" --dry-run',
        ),
        ("plan NAME=flight_delay", 'plan "flight_delay"'),
        ("table NAME=flights MONTH=2013-03", 'table "flights" --month "2013-03"'),
    ],
)
def test_make_hands_over_what_it_was_given(given, command):
    told = subprocess.run(["make", "-n", *given.split()], cwd=ROOT, capture_output=True, text=True).stdout
    assert f"-m assets.{command}" in [" ".join(line.split()).partition(" ")[2] for line in told.splitlines()]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["model"], "say NAME=<the new model>, and TABLE="),
        (["source", "--name=bakery"], "say NAME=<the new table> FILE=<a CSV or Parquet file>"),
        (["source", "--file=bakery.csv"], "say NAME=<the new table> FILE="),
        (["feature"], "say VIEW=<a feature view> NAME=<the new column>, or VIEW=<a new view> ENTITY="),
        (["outcome", "--name=floods"], "say NAME=<the new table> ENTITY=<entity:key column> FROM="),
        (["feature", "--view=aircraft"], "say VIEW=<a feature view> NAME="),
    ],
)
def test_what_is_missing_is_asked_for(platform, words, problem):
    with pytest.raises(ValueError, match=problem):
        scaffold(platform, _parser().parse_args(words))


def test_make_parses_anew_after_a_file_of_dbt_was_removed(tmp_path):
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    declared = tmp_path / "dbt_project/models/staging/raw_gauges.yml"
    declared.parent.mkdir(parents=True)
    declared.write_text("version: 2")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/.ready").touch()

    def parsed():
        make = ["make", "-o", ".venv/.ready", "DBT=echo parsed", "HEADWATER_HOME=home", "home/dbt/manifest.json"]
        return "parsed" in subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert [parsed(), parsed()] == [True, False]
    declared.unlink()
    assert [parsed(), parsed()] == [True, False]
