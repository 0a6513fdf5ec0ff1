"""A table from another field becomes a source, two features and a served model, by the files of the how-to alone.

From raw to Triton in one command, in a tree and a home of its own; flights stay in the graph beside it.
"""

import json
import re

import polars as pl
import pytest

from assets.resources import Platform
from ml.months import Months, month_of
from ml.settings import Settings
from tests.line.own_data import MODEL, OwnTree, files_of_page

pytestmark = pytest.mark.timeout(900)
MONTHS = Months("2010-03", "2010-09").names
_GRAPH = """
import json
from assets.definitions import build_definitions
graph = build_definitions().resolve_asset_graph()
found = {"/".join(k.path): graph.get(k).partitions_def for k in graph.get_all_asset_keys()}
print(json.dumps({name: p.get_partition_keys() for name, p in found.items() if p}))
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own_data")
    made = OwnTree(folder / "tree", folder / "home")
    made.write()
    parsed = made.run(
        "-c", f"from pathlib import Path; from assets.new_home import prepare; prepare(Path({str(made.home)!r}))"
    )
    assert parsed.returncode == 0, parsed.stderr
    yield made
    made.run("-m", "serving.server", "stop")


@pytest.fixture(scope="module")
def one_month(own):
    """What `make table` says of one month of a feature table, in a home without any table, and what it left there."""
    done = own.run("-m", "assets.table", "glucose_level", "--month", "2010-05")
    assert done.returncode == 0, done.stdout + done.stderr
    lake = Platform(Settings(home=own.home)).lake
    return done.stdout, {table: lake.read(table).collect() for table in lake.tables()}


@pytest.fixture(scope="module")
def brought(own, one_month):
    done = own.run("-m", "assets.model", MODEL)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def platform(own, brought):
    return Platform(Settings(home=own.home))


def test_a_source_two_features_and_a_model_take_less_than_60_lines():
    files = files_of_page()
    assert len(files) == 5
    assert sum(1 for text in files.values() for line in text.splitlines() if line.strip()) < 60
    assert all(len(line) <= 120 for text in files.values() for line in text.splitlines())


def test_the_files_pass_the_linter(own):
    names = [name for name in files_of_page() if name.endswith(".py")]
    done = own.run("-m", "ruff", "check", "--no-cache", *names)
    assert done.returncode == 0, done.stdout
    assert own.run("-m", "ruff", "format", "--no-cache", "--check", *names).returncode == 0


def test_sources_of_2010_and_of_2013_live_in_one_graph_each_with_its_own_months(own):
    done = own.run("-c", _GRAPH)
    assert done.returncode == 0, done.stderr
    months = json.loads(done.stdout.splitlines()[-1])
    year = Months("2013-01", "2013-12").names
    for name in ("raw/glucose", "features/glucose_level", "published/glucose_outcomes", f"{MODEL}/scores"):
        assert months[name] == MONTHS, name
    for name in ("raw/flights", "features/aircraft", "published/flight_outcomes", "flight_delay/scores"):
        assert months[name] == year, name


def test_one_month_of_a_table_takes_the_raw_months_that_it_reads_and_no_other(one_month):
    told, tables = one_month
    months = {name: sorted(rows["partition_key"].unique()) for name, rows in tables.items() if "glucose" in name}
    assert months == {
        "raw/glucose": ["2010-04", "2010-05"],
        "features/glucose_level": ["2010-05"],
        "published/glucose_level": ["2010-05"],
    }
    rows = tables["published/glucose_level"].height
    assert f"\npublished/glucose_level[2010-05] has {rows:,} rows, and no check holds them back." in told


def test_every_month_is_judged_and_published(platform):
    for table in ("raw/glucose", "features/glucose_level", "features/glucose_outcomes"):
        assert set(platform.guard.admit("a reader", table, MONTHS)) == set(MONTHS)
    published = platform.lake.read("published/glucose_level").collect()
    assert {"level", "change_30m"} <= set(published.columns)
    assert sorted(published["partition_key"].unique()) == MONTHS


def test_only_its_own_tables_are_touched(platform):
    assert [table for table in platform.lake.tables() if "flight" in table or "weather" in table] == []


def test_features_are_those_known_when_the_question_was_asked(platform):
    rows = platform.lake.read(f"{MODEL}/training_set").collect()
    raw = platform.lake.read("raw/glucose").collect()
    known = raw.group_by("event_timestamp").agg(pl.col("glucose").mean().alias("level")).sort("event_timestamp")
    asked = rows.sort("prediction_time")
    joined = asked.join_asof(
        known, left_on="prediction_time", right_on="event_timestamp", strategy="backward", tolerance="15m"
    )
    assert joined["glucose_level__level"].equals(joined["level"], null_equal=True)
    assert 0.1 < rows["is_high"].mean() < 0.3


def test_the_model_is_served_and_answers_as_offline(own, brought, platform):
    assert re.search(rf"{MODEL}: version 1 serves as champion", brought)
    champion = platform.registry.champion(MODEL)
    assert champion.metrics["test_roc_auc"] > 0.83
    asked = own.run("-m", "assets.ask", MODEL, "--rows", "4", timeout=120)
    assert asked.returncode == 0, asked.stderr
    answers = re.findall(r"^2010-\d\d-\d\d .* (0\.\d{3}) +[01] +[0-9a-f]{32}$", asked.stdout, re.MULTILINE)
    assert len(answers) == 4
    assert len(set(answers)) > 1  # features were there: an answer of nulls is the same each time
    assert float(re.search(r"differ by at most (\S+)\.$", asked.stdout.strip())[1]) < 1e-5


def test_asking_the_past_leaves_the_clock_where_it_was(platform):
    assert not platform.settings.clock_file.exists()
    assert month_of(platform.clock.now()) > "2020-01"
