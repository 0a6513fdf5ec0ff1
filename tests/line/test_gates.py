"""Gates on the real line: bad data does not pass, whatever is run, and good data passes again."""

import dataclasses
from datetime import UTC, datetime

import dagster as dg
import polars as pl
import pytest

from assets.definitions import definitions_for
from assets.rollback import roll_back
from assets.runs import FOR_PEOPLE, materialize
from assets.staleness import changed, superseded, unproven
from checks.guard import GateClosed
from checks.required import RAW
from ml.clock import ReplayClock
from ml.lake import WHOLE
from ml.online_rows import open_online_rows
from ml.source import CsvReader
from ml.sources import SOURCES, source_named
from ml.sources.nycflights13 import LOCAL_MONTH
from ml.verdicts import Verdict

FLIGHTS = dg.AssetKey(["raw", "flights"])
STATE = dg.AssetKey(["features", "aircraft_state"])
TRAINING_SET = dg.AssetKey(["flight_delay", "training_set"])
PUBLISHED = dg.AssetKey(["published", "aircraft_state"])
ORDER = ["tailnum", "event_timestamp", "created_timestamp"]


@pytest.fixture
def spoiled(tmp_path):
    """The sources, with March's departure delays in seconds instead of minutes."""
    flights = source_named("flights")
    march = flights.read().filter(LOCAL_MONTH == "2013-03").with_columns(pl.col("dep_delay") * 60)
    path = tmp_path / "flights.csv"
    march.write_csv(path, null_value="NA")
    return [dataclasses.replace(s, reader=CsvReader(path)) if s.name == "flights" else s for s in SOURCES]


def published_rows(line):
    return line.platform.publications.read("aircraft_state").collect()


def test_bad_data_is_stopped_on_every_path_and_released_once_repaired(copied, spoiled):
    platform, instance = copied.platform, copied.instance
    good, bad = definitions_for(platform), definitions_for(platform, spoiled)
    before = published_rows(copied)

    with pytest.raises(Exception, match="expectations"):
        materialize(bad, instance, [FLIGHTS], ["2013-03"])
    # The child alone, in a run of its own, and the month after, which looks back at March.
    for month in ("2013-03", "2013-04"):
        with pytest.raises(GateClosed, match=r"raw/flights\[2013-03\].*'expectations' failed.*dep_delay"):
            materialize(good, instance, [STATE], [month])
    # A month that does not read March is not held up by it.
    materialize(good, instance, [STATE], ["2013-08"])
    assert published_rows(copied).equals(before)

    assert changed(platform, FLIGHTS, ["2013-02", "2013-03"]) == ["2013-03"]
    materialize(good, instance, [FLIGHTS], ["2013-03"])
    assert changed(platform, FLIGHTS, ["2013-02", "2013-03"]) == []
    materialize(good, instance, [STATE], ["2013-03"])
    materialize(good, instance, [PUBLISHED], ["2013-03"])
    assert published_rows(copied).sort(ORDER).equals(before.sort(ORDER))


def test_a_month_whose_check_never_ended_is_out_of_date(copied):
    platform = copied.platform
    assert unproven(platform, FLIGHTS, ["2013-05", "2013-06"]) == []
    rows = platform.lake.read("raw/flights", partitions=["2013-05"]).collect()
    platform.lake.replace("raw/flights", rows, ["2013-05"])  # what a run killed before its check leaves
    assert unproven(platform, FLIGHTS, ["2013-05", "2013-06"]) == ["2013-05"]


def test_the_champion_may_be_checked_again(copied):
    platform = copied.platform
    version = int(platform.registry.newest("flight_delay").version)
    check = dg.AssetCheckKey(dg.AssetKey(["flight_delay", "model"]), "promotion")
    job = definitions_for(platform).resolve_implicit_global_asset_job_def()
    selection = dg.AssetSelection.checks(check)
    graph = definitions_for(platform).resolve_asset_graph()
    assert selection.resolve_checks(graph) == {check}
    subset = job.get_subset(asset_selection=set(), asset_check_selection={check})
    assert subset.execute_in_process(instance=copied.instance, run_config=FOR_PEOPLE).success
    assert platform.verdicts.newest("flight_delay/model", version, WHOLE, "promotion").passed


def test_published_data_roll_back_offline_and_online_together(copied):
    platform = copied.platform
    first = platform.publications.current("aircraft_state")
    ReplayClock(platform.settings.clock_file).set(datetime(2014, 1, 2, tzinfo=UTC))
    before = open_online_rows(platform.settings.online_store).summary("aircraft_state").rows
    gone = platform.lake.read("features/aircraft_state").filter(pl.col("tailnum") != "N564AA").collect()
    platform.lake.replace("features/aircraft_state", gone, sorted(first.staged))
    staged = platform.lake.partition_versions("features/aircraft_state")
    assert superseded(platform, TRAINING_SET) == []
    platform.publications.publish("aircraft_state", staged, actor="test")
    assert superseded(platform, TRAINING_SET) == [WHOLE]
    roll_back(platform, "aircraft_state", first.version, "test", "a tail number went missing")
    assert superseded(platform, TRAINING_SET) == []
    assert "N564AA" in published_rows(copied)["tailnum"]
    assert open_online_rows(platform.settings.online_store).summary("aircraft_state").rows >= before


def test_a_failed_dbt_test_closes_publishing_on_exactly_the_version_it_judged(copied):
    platform, instance = copied.platform, copied.instance
    definitions = definitions_for(platform)
    before, staged = published_rows(copied), platform.lake.version("features/aircraft_state")
    # Spoil what dbt reads behind Great Expectations' back, verdict and all: arrivals known before they happened.
    rows = platform.lake.read("raw/flights", partitions=["2013-05"]).collect()
    early = pl.col("event_timestamp") - pl.duration(minutes=1)
    spoilt = rows.with_columns(created_timestamp=pl.when(pl.col("day") == 5).then(early).otherwise("created_timestamp"))
    version = platform.lake.replace("raw/flights", spoilt, ["2013-05"])
    platform.verdicts.record([Verdict("raw/flights", version, check, True, "2013-05") for check in RAW])

    with pytest.raises(dg.Failure, match=r"dbt build of 2013-05.*aircraft_state_conditions fail"):
        materialize(definitions, instance, [STATE], ["2013-05"])
    refused = rf"features/aircraft_state\[2013-05\] version {staged + 1}: check 'dbt_tests' failed.*known_after_event"
    with pytest.raises(GateClosed, match=refused):
        materialize(definitions, instance, [PUBLISHED], ["2013-05"])
    assert published_rows(copied).equals(before)

    # The repair: the expectations are asked again, and refuse that version; landing joins the good one before it.
    platform.verdicts.record([Verdict("raw/flights", version, "expectations", False, "2013-05")])
    materialize(definitions, instance, [FLIGHTS], ["2013-05"])
    materialize(definitions, instance, [STATE], ["2013-05"])
    materialize(definitions, instance, [PUBLISHED], ["2013-05"])
    assert published_rows(copied).sort(ORDER).equals(before.sort(ORDER))


def test_a_model_whose_gates_did_not_pass_is_not_deployed_by_itself(copied):
    platform = copied.platform
    version = int(platform.registry.newest("flight_delay").version)
    evidence = {"summary": "ROC AUC is believable? observed 0.9700"}
    platform.verdicts.record([Verdict("flight_delay/model", version, "promotion", False, evidence=evidence)])
    with pytest.raises(GateClosed, match=r"flight_delay/deployment refuses.*promotion.*0\.9700"):
        materialize(definitions_for(platform), copied.instance, [dg.AssetKey(["flight_delay", "deployment"])])
