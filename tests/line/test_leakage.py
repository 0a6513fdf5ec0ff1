"""The as-of audit on the real year, and what it asks of commits."""

from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg
import polars as pl
import pytest

from assets.definitions import definitions_for
from assets.in_use import versions_in_use
from assets.leakage import made_by, training_set_of
from assets.resources import Platform
from assets.runs import materialize
from checks.guard import GateClosed
from checks.leakage import CHECK, check_leakage
from checks.leakage_evidence import CORRECTED, NOT_KNOWN
from ml.clock import RealClock
from ml.lake import WHOLE
from ml.models.flight_delay import FLIGHT_DELAY
from ml.publication import Publications
from ml.rebuild import Cut, Made, RawTables, Rebuilder
from ml.settings import Settings
from ml.sources import SOURCES
from ml.spec import column_of
from ml.verdicts import Verdict
from tests.checks.bus_world import changed

pytestmark = pytest.mark.timeout(1200)

TABLE = "flight_delay/training_set"
MONTHS = ("2013-05", "2013-06", "2013-07")
JULY = (datetime(2013, 7, 1, tzinfo=UTC), datetime(2013, 8, 1, tzinfo=UTC))

EVENT = "event_timestamp,\n    created_timestamp,"
EARLY = (
    "event_timestamp - interval 3 hours as event_timestamp, created_timestamp - interval 3 hours as created_timestamp,"
)
ARRIVED = "epoch_us(arrived_at) // 1000000 as last_arrived_at"
OWN = "epoch_us(lead(arrived_at) over (partition by tailnum order by event_timestamp)) // 1000000 as last_arrived_at"
MEAN = "delay_3h / departures_3h as mean_dep_delay_3h"
OF_THE_MONTH = "avg(worst_3h) over (partition by origin, strftime(departed_at, '%Y-%m')) as mean_dep_delay_3h"

LEAKS = {
    "known three hours too early": ("aircraft_state", EVENT, EARLY, "aircraft_state:last_arr_delay"),
    "the flight's own arrival": ("aircraft_state", ARRIVED, OWN, "aircraft_state:last_arrived_at"),
    "a window that includes the future": (
        *("destination_congestion", "preceding and current row", "preceding and interval 2 hours following"),
        "destination_congestion:mean_arr_delay_3h",
    ),
    "the mean of the month": ("origin_congestion", MEAN, OF_THE_MONTH, "origin_congestion:mean_dep_delay_3h"),
    "arrivals counted at departure": (
        *("origin_congestion", "sum(dep_delay) as delay", "sum(coalesce(arr_delay, 0)) as delay"),
        "origin_congestion:mean_dep_delay_3h",
    ),
}


def test_every_training_set_has_been_audited_and_shows_what_was_compared(line):
    platform = line.platform
    verdict = platform.verdicts.newest(TABLE, platform.lake.version(TABLE), WHOLE, CHECK)
    assert verdict.passed, verdict.evidence["summary"]
    assert verdict.blocking
    evidence = verdict.evidence
    assert {moment[:7] for moment in evidence["moments"]} == {f"2013-{month:02d}" for month in range(1, 13)}
    assert evidence["rows"] > 1000
    assert evidence["cells"] == evidence["rows"] * len(FLIGHT_DELAY.features)
    assert evidence["late_corrections"]["rows"] == platform.lake.read(TABLE).select(pl.len()).collect().item()
    assert evidence["differences"] == evidence["late_corrections"]["differences"] == 0


@pytest.fixture(scope="module")
def july(line):
    """July's rows of the training set, made from three months."""
    platform = line.platform
    whole = training_set_of(platform, FLIGHT_DELAY, platform.lake.version(TABLE))
    made = {
        name: [Made(MONTHS, part.recipe) for part in parts] for name, parts in whole.made.items() if name != "aircraft"
    }
    rows = whole.rows.filter(pl.col("prediction_time").is_between(*JULY, closed="left"))
    return replace(whole, rows=rows, views=[view for view in whole.views if view.name in made], made=made)


def spoiled(lake, training_set, name, old, new):
    """The training set as it would be had the view `name` this mistake in its SQL from the beginning."""
    (view,) = (view for view in training_set.views if view.name == name)
    parts = [
        Made(part.months, replace(part.recipe, query=changed(part.recipe.query, old, new)))
        for part in training_set.made[name]
    ]
    made = replace(training_set, views=[view], made={name: parts})
    values = made.again(Rebuilder(RawTables(lake, SOURCES)), view, training_set.rows, Cut())
    return replace(made, rows=training_set.rows.with_columns(values))


def test_july_by_itself_passes(line, july):
    outcome = check_leakage(july, line.platform.lake, SOURCES, seed=1, moments=10)
    assert outcome.passed, outcome.summary


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_in_the_real_sql_is_refused_with_the_flight_behind_it(line, july, leak):
    name, old, new, feature = LEAKS[leak]
    outcome = check_leakage(spoiled(line.platform.lake, july, name, old, new), line.platform.lake, SOURCES, 1, 10)
    assert not outcome.passed
    assert outcome.evidence["features"][NOT_KNOWN][feature] > 10
    first = next(row for row in outcome.table if row["feature"] == feature)
    (row,) = july.rows.filter(flight_id=first["flight_id"]).to_dicts()
    assert first["asked at"] == row["prediction_time"].isoformat()
    assert "when this became known: raw/flights year=2013" in first["can be had from"]
    assert first["can be had from"][:16] > f"{row['prediction_time']:%Y-%m-%d %H:%M}"
    assert column_of(feature) in outcome.failing.columns


def test_a_correction_that_would_overwrite_the_real_past_is_refused(line, july):
    old, new = "and is_original and departed_at is not null", "and departed_at is not null"
    training_set = spoiled(line.platform.lake, july, "origin_congestion", old, new)
    outcome = check_leakage(training_set, line.platform.lake, SOURCES, 1, 10)
    assert not outcome.passed
    assert outcome.evidence["differences"] == 0
    assert set(outcome.evidence["features"][CORRECTED]) == {f for f in FLIGHT_DELAY.features if "origin_cong" in f}


def test_training_does_not_start_on_a_training_set_that_leaks(copied):
    platform = copied.platform
    evidence = {"summary": "aircraft_state:last_arrived_at of row 2013-07-01/AA1/JFK was not known then"}
    platform.verdicts.record([Verdict(TABLE, platform.lake.version(TABLE), CHECK, False, evidence=evidence)])
    with pytest.raises(GateClosed, match=r"flight_delay/model refuses.*'leakage' failed.*last_arrived_at"):
        materialize(definitions_for(platform), copied.instance, [dg.AssetKey(["flight_delay", "model"])])


def test_the_raw_versions_behind_what_is_published_are_kept(line):
    platform = line.platform
    (made,) = made_by(platform, "aircraft_state", platform.publications.current("aircraft_state").version)
    assert set(made.recipe.raw) == {"raw/flights"}
    assert made.recipe.raw["raw/flights"] in versions_in_use(platform).of("raw/flights")


def test_rows_that_do_not_say_how_they_were_made_are_refused_with_the_remedy(tmp_path):
    platform = Platform(Settings(home=tmp_path))
    month = pl.DataFrame({"x": [1], "partition_key": ["2013-01"]})
    staged = platform.lake.replace("features/state", month, ["2013-01"], {"run": "by hand"})
    version = Publications(platform.lake, RealClock()).publish("state", {"2013-01": staged}, "test").version
    with pytest.raises(LookupError, match="materialize features/state for these months again"):
        made_by(platform, "state", version)
    with pytest.raises(LookupError, match="was never published"):
        made_by(platform, "state", version + 7)
