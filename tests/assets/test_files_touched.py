"""How many files an addition touches: a source two, a feature two, a model one, a check one. Each of them works."""

import json

import polars as pl
import pytest

from ml.lake import Lake
from tests.assets.tree import Tree, fresh_tree, planned_assets

STATIONS = [f"Weir {n}" for n in range(12)]
SOURCE = ["-m", "assets.scaffold", "source", "--name", "gauges", "--file", "data/gauges.csv"]
VIEW = ["-m", "assets.scaffold", "feature", "--view", "gauge_levels", "--entity", "gauge:station", "--from", "gauges"]
FEATURE = ["-m", "assets.scaffold", "feature", "--view", "gauge_levels", "--name", "level_m", "--sql", "level / 100"]
MODEL = ["-m", "assets.scaffold", "model", "--name", "tail_wind", "--from", "cancellation"]

CHECK = '''"""No gauge stands below its own bed."""

import polars as pl

from checks.outcome import Outcome
from checks.table_check import TableCheck


def _above_bed(rows: pl.DataFrame, partition: str) -> Outcome:
    low = rows.filter(pl.col("level") < 0)
    return Outcome(low.is_empty(), f"{low.height} levels below the bed", failing=low)


ABOVE_BED = TableCheck("above_bed", "Water stands above the bed.", ("raw/gauges",), _above_bed)
'''
SUITE = {
    "expectations": [
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "level", "min_value": 0, "max_value": 900}}
    ]
}


def levels(lowest: float = 100.0) -> str:
    """A day a station in January and February; of 1 February, one level is `lowest`."""
    days = [f"2013-{month:02}-{day:02}" for month in (1, 2) for day in range(1, 29)]
    rows = [f"{name},{day},{100 + n + int(day[-2:]) % 7}" for n, name in enumerate(STATIONS) for day in days]
    rows[28] = f"{STATIONS[0]},2013-02-01,{lowest}"
    return "\n".join(["station,day,level", *rows]) + "\n"


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Tree:
    """The repository as it is, and a file of rows that nobody has declared."""
    tree = fresh_tree(tmp_path_factory.mktemp("touched") / "tree")
    (tree.root / "data").mkdir()
    (tree.root / "data" / "gauges.csv").write_text(levels())
    tree.commit()
    return tree


@pytest.fixture(scope="module")
def landed(tree, tmp_path_factory) -> tuple[Tree, list[str], str]:
    """A copy in which the source was added and its first month landed; the files that took, and the plan printed."""
    copy = tree.copy(tmp_path_factory.mktemp("landed") / "tree")
    printed = copy.told(*SOURCE)
    touched = copy.touched()
    copy.parse()
    assert copy.materialize("2013-01", "raw/gauges") == {"success": True, "failed": [], "errors": []}
    copy.commit()
    return copy, touched, printed


@pytest.fixture
def gauged(landed, tmp_path) -> Tree:
    return landed[0].copy(tmp_path / "tree")


def test_a_source_is_two_files_and_lands(landed):
    copy, touched, printed = landed
    assert touched == ["?? dbt_project/models/staging/raw_gauges.yml", "?? ml/sources/gauges.py"]
    assert planned_assets(printed) == ["raw/gauges"]
    rows = Lake(str(copy.home / "lake")).read("raw/gauges").collect()
    assert rows.height == 12 * 28
    assert rows.filter(pl.col("station") == "Weir 1").sort("day")["level"][0] == 102.0
    known = rows["event_timestamp"] - rows["day"].cast(pl.Datetime("us", "UTC"))
    assert known.unique().to_list() == [pl.duration(days=1).pipe(pl.select).item()]


def test_a_refusal_is_one_line_and_writes_nothing(tree):
    line = tree.refused("-m", "assets.scaffold", "source", "--name", "flights", "--file", "data/gauges.csv")
    assert line == "headwater: a source 'flights' exists (raw/flights); edit it, or take another name"


def test_a_feature_is_two_files_and_is_built_and_published(gauged):
    assert gauged.told(*VIEW).count("wrote ") == 2
    gauged.parse()
    gauged.commit()
    printed = gauged.told(*FEATURE)
    folder = "dbt_project/models/features/gauge_levels"
    assert gauged.touched() == [f" M {folder}.sql", f" M {folder}.yml"]
    assert planned_assets(printed) == ["features/gauge_levels", "published/gauge_levels"]
    gauged.parse()
    run = gauged.materialize("2013-01", "features/gauge_levels", "published/gauge_levels")
    assert run["errors"] == []
    rows = Lake(str(gauged.home / "lake")).read("published/gauge_levels").collect()
    assert rows.height > 12 * 20
    assert (rows["level_m"] * 100 - rows["level"]).abs().max() < 1e-9


def test_a_model_is_one_file_with_all_that_its_plan_names(tree, tmp_path):
    copy = tree.copy(tmp_path / "tree")
    before = copy.graph()
    printed = copy.told(*MODEL)
    assert copy.touched() == ["?? ml/models/tail_wind.py"]
    after = copy.graph()
    added = [asset for asset in after["assets"] if asset not in before["assets"]]
    assert planned_assets(printed) == [asset["key"] for asset in added]
    gates = {asset["key"].split("/")[1]: set(asset["blocking"]) for asset in added}
    assert gates["training_set"] == {"training_rows", "parity", "leakage"}
    assert gates["model"] == {"promotion", "serving_drift"}
    for part, names in {
        "jobs": ["tail_wind_monitor", "tail_wind_retrain", "tail_wind_rollout"],
        "sensors": ["tail_wind_monitor_sensor", "tail_wind_retraining_sensor", "tail_wind_trial_sensor"],
    }.items():
        assert [name for name in after[part] if name not in before[part]] == names
        assert all(f" {name}\n" in printed for name in names)


@pytest.mark.parametrize(
    ("file", "text", "check"),
    [
        ("checks/expectations/raw_gauges.json", json.dumps(SUITE), "expectations"),
        ("checks/tables/above_bed.py", CHECK, "above_bed"),
    ],
)
def test_a_check_is_one_file_that_fails_on_bad_rows_and_keeps_them_out(gauged, file, text, check):
    (gauged.root / file).write_text(text)
    assert gauged.touched() == [f"?? {file}"]
    (gauged.root / "data" / "gauges.csv").write_text(levels(lowest=-40.0))
    run = gauged.materialize("2013-02", "raw/gauges")
    assert check in run["failed"]
    ask = "from assets.resources import platform_for; from ml.settings import Settings; "
    ended = gauged.run("-c", ask + "platform_for(Settings()).guard.admit('features', 'raw/gauges', ['2013-02'])")
    assert "GateClosed" in ended.stderr
    assert f"check '{check}' failed" in ended.stderr or "more: make quarantine" in ended.stderr
    good = gauged.run("-c", ask + "platform_for(Settings()).guard.admit('features', 'raw/gauges', ['2013-01'])")
    if file.endswith(".json"):  # the month that landed before was judged by the suite of then
        assert good.returncode == 0, good.stderr
    else:  # a check without a verdict is a refusal
        assert f"check '{check}' has no verdict on it; run the check on raw/gauges[2013-01]" in good.stderr
