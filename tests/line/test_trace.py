"""From an answer of the real Triton to rows of the real CSV files, and from a raw column to all that rests on it."""

import json
import re
import zipfile
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from assets.column_lineage import ENTRY
from assets.resources import Platform
from assets.trace import main, trace_prediction
from assets.trace_column import trace_column
from ml.models import MODELS
from ml.settings import Settings
from ml.sources import source_named


@pytest.fixture(scope="module")
def answered(live):
    """The id of an answer that has not landed in the lake."""
    done = live.ask()
    assert done.returncode == 0, done.stderr
    return re.search(r"\b[0-9a-f]{32}\b", done.stdout)[0]


@pytest.fixture(scope="module")
def traced(live, answered):
    return trace_prediction(live.platform, answered)


@pytest.fixture(scope="module")
def landed(live):
    """The id of an answer that is in the lake."""
    return re.findall(r"\b[0-9a-f]{32}\b", live.first_output)[0]


def named(step, start):
    (found,) = (part for part in step.walk() if part.name.startswith(start))
    return found


def raw_rows(step, view):
    (found,) = (part for part in named(step, f"{view} of").below if part.kind == "raw")
    return found.rows


def in_csv(name, key):
    """The one line of a source's file with these values, as text, read by nothing of ours."""
    path = Path(source_named(name).reader.origin)
    content = zipfile.ZipFile(path).read("flights.csv") if path.suffix == ".zip" else path.read_bytes()
    (line,) = pl.read_csv(content, infer_schema=False).filter(**key).to_dicts()
    return line


def test_every_value_that_was_served_is_the_published_one_and_made_again_from_raw_rows(traced):
    assert traced.missing() == []
    assert traced.facts["kept in"] == "the serving log"
    views = [step for step in traced.below if step.kind == "feature"]
    assert len(views) == 10
    cells = [cell for view in views for cell in view.rows]
    assert [cell["same"] for cell in cells].count(True) > 25
    assert not any(cell["same"] is False for cell in cells)
    present = [view for view in views if view.facts["status"].endswith("features")]
    assert len(present) > 5
    assert all("bit for bit" in part.facts["made again"] for v in present for part in v.below if part.kind == "raw")


def test_the_raw_weather_is_the_line_of_the_csv(traced):
    (row,) = raw_rows(traced, "weather_observation")
    hour = f"{row['key']['time_hour']:%Y-%m-%dT%H:%M:%SZ}"
    line = in_csv("weather", {"origin": row["key"]["origin"], "time_hour": hour})
    for name in ("temp", "humid", "visib", "precip"):
        assert float(line[name]) == row["row"][name]
    assert {cell["feature"]: cell["logged"] for cell in named(traced, "weather_observation of").rows}["temp"] == float(
        line["temp"]
    )


def test_the_aircraft_s_raw_flights_are_lines_of_the_csv_in_the_order_of_landing(traced):
    rows = raw_rows(traced, "aircraft_state")
    assert {row["row"]["tailnum"] for row in rows} == {"N564AA"}
    for row in rows:
        key = {"carrier": row["key"]["carrier"], "flight": str(row["key"]["flight"]), "origin": row["key"]["origin"]}
        hour = f"{row['key']['time_hour']:%Y-%m-%dT%H:%M:%SZ}"
        line = in_csv("flights", {**key, "time_hour": hour})
        assert (int(line["arr_delay"]), line["tailnum"]) == (row["row"]["arr_delay"], "N564AA")
    cells = {cell["feature"]: cell["logged"] for cell in named(traced, "aircraft_state of").rows}
    assert cells["last_arr_delay"] == rows[0]["row"]["arr_delay"]


def test_model_run_code_training_set_plan_and_approval_are_named(live, traced):
    version = live.platform.registry.version("flight_delay", "1")
    model = named(traced, "flight_delay version 1")
    assert model.facts["mlflow run"] == version.run_id
    assert model.facts["git commit"] == version.tags["git_commit"]
    assert model.facts["approved by"].startswith("gates, run ")
    assert "as registered" in model.facts["file"]
    training = named(traced, "flight_delay/training_set version 0")
    assert training.facts["hash"] == version.tags["training_set_hash"]
    assert training.facts["joined from"]["published/weather_observation"] == 0
    assert named(traced, "plan revision").facts["changed by"].startswith("deploy, by deployment")


def test_the_command_prints_json_for_an_answer_in_the_lake_and_writes_a_page(live, landed):
    done = live.command("make", "--no-print-directory", "trace", f"ID={landed}", "JSON=1")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["facts"]["kept in"] == "the serving log, flight_delay/predictions"
    assert told["below"][-1]["name"] == "flight_delay/predictions version 0"
    assert Path(told["page"]).read_text().count("<rect") > 12


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (["ab" * 16], "no prediction abab"),
        (["42"], "is no prediction id"),
        (["--column", "raw/weather.visibl"], "near are raw/weather.visib"),
    ],
)
def test_what_is_unknown_is_one_clear_line(live, asked, told, monkeypatch, capsys):
    monkeypatch.setenv("HEADWATER_HOME", str(live.home))
    assert main(asked) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("headwater: ")
    assert told in said


@pytest.fixture
def ruins(live, tmp_path):
    """The line's lake without the rows of raw/flights, and nothing else of the home but dbt's manifest."""
    for table in live.platform.lake.tables():
        (tmp_path / "lake" / table).parent.mkdir(parents=True, exist_ok=True)
        if table == "raw/flights":
            (tmp_path / "lake" / table).mkdir()
            (tmp_path / "lake" / table / "_delta_log").symlink_to(live.home / "lake" / table / "_delta_log")
        else:
            (tmp_path / "lake" / table).symlink_to(live.home / "lake" / table)
    (tmp_path / "dbt").symlink_to(live.home / "dbt")
    return Platform(Settings(home=tmp_path))


def test_what_is_gone_is_named_and_all_else_is_still_shown(ruins, landed):
    found = trace_prediction(ruins, landed)
    missing = " / ".join(found.missing())
    assert "plan revision 1 of flight_delay is gone" in missing
    assert "no version 1 of model 'flight_delay' in the registry" in missing
    assert "table 'raw/flights' at version 11 lacks" in missing
    assert len(raw_rows(found, "weather_observation")) == 1
    assert any(cell["same"] for step in found.walk() if step.kind == "feature" for cell in step.rows)
    assert "run and the code of flight_delay version 1 are not known any more" in missing
    assert named(found, "flight_delay/training_set version 0").gone == ()  # its drift check noted which it was


def test_all_that_rests_on_a_raw_column_is_found(live):
    found, feature = trace_column(live.platform, "raw/weather.visib", MODELS), ["weather_observation:visib"]
    assert named(found, "features").facts["computed from it"] == feature
    for model in MODELS:
        assert named(found, f"model {model.name}").facts["features"]["computed from it"] == feature
    served = next(step for step in named(found, "model flight_delay").below if step.name.startswith("deployed"))
    assert served.facts["champion version 1"]["computed from it"] == feature
    versions = next(step for step in named(found, "model flight_delay").below if step.name == "registered versions")
    assert "version 1 (champion)" in versions.facts
    assert {row["of"] for row in named(found, "checks and notebooks").rows} == {
        "raw/weather.visib",
        "features/weather_observation.visib",
    }
    assert named(found, "landing of").facts["used for"] == "nothing else"


def test_what_the_rules_of_a_source_read_is_told_without_naming_them(live):
    uses = named(trace_column(live.platform, "raw/flights.arr_delay", MODELS), "landing of").facts["used for"]
    assert uses == ["the instant at which a row is known"]
    uses = named(trace_column(live.platform, "raw/flights.carrier", MODELS), "landing of").facts["used for"]
    assert uses == ["the key of a row", "what is known earlier than the row"]
    uses = named(trace_column(live.platform, "raw/flights.dep_delay", MODELS), "landing of").facts["used for"]
    assert uses == ["the instant at which a part of it is known", "what is known earlier than the row"]


def test_a_feature_is_traced_up_and_a_misspelt_one_refused_with_the_near_ones(live):
    found = trace_column(live.platform, "aircraft_state:last_turnaround", MODELS)
    assert "raw/flights.dep_delay" in found.facts["what it is made from"]
    with pytest.raises(LookupError, match=r"near are features/aircraft_state\.last_turnaround"):
        trace_column(live.platform, "aircraft_state:last_turnarond", MODELS)
    with pytest.raises(ValueError, match="names no column"):
        trace_column(live.platform, "weather", MODELS)


def test_the_ui_shows_where_columns_come_from(live):
    def entry(*key):
        event = live.instance.get_latest_materialization_event(dg.AssetKey(key))
        return event.asset_materialization.metadata[ENTRY].value

    state = entry("features", "weather_observation")
    assert "| visib | staging/stg_nycflights__weather.visib | raw/weather.visib |" in state
    assert "| wind_dir | raw/weather.wind_dir | raw/weather.wind_dir |" in entry("staging", "stg_nycflights__weather")
    assert "| weather_observation__visib | published/weather_observation.visib | raw/weather.visib |" in entry(
        "flight_delay", "training_set"
    )
