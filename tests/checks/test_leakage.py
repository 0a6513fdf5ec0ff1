from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from checks.late_corrections import with_late_corrections
from checks.leakage import check_leakage
from checks.leakage_evidence import CORRECTED, NOT_KNOWN
from checks.outcome import RULE
from ml.rebuild import Made
from tests.checks.bus_world import BUS_SQL, DEPOT_SQL, INSTANT, STAGING, START, TRIPS, bus_world, changed, tampered

SEED = 11
NEWEST = " qualify row_number() over (partition by trip order by created_timestamp desc) = 1"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return bus_world(tmp_path_factory.mktemp("buses"))


def audit(world, training_set, moments=40):
    return check_leakage(training_set, world.lake, [TRIPS], SEED, moments)


def test_a_training_set_of_what_was_known_passes_and_says_what_was_compared(world):
    training_set = world.training_set()
    outcome = audit(world, training_set)
    assert outcome.passed, outcome.summary
    evidence = outcome.evidence
    assert len(evidence["moments"]) == 40
    assert evidence["cells"] == evidence["rows"] * 4 > 400
    assert (evidence["differences"], evidence["late_corrections"]["differences"]) == (0, 0)
    assert evidence["late_corrections"]["cells"] == training_set.rows.height * 4
    assert {row["view"] for row in outcome.table} == {"bus_state", "depot_state"}
    assert training_set.rows.drop_nulls().height > 0.9 * training_set.rows.height


def test_a_departure_counts_before_the_bus_has_arrived_because_the_source_declares_so(world):
    training_set, undeclared = world.training_set(), replace(TRIPS, known_earlier=())
    outcome = check_leakage(training_set, world.lake, [undeclared], SEED, 40)
    assert not outcome.passed
    assert set(outcome.evidence["features"][NOT_KNOWN]) == {"depot_state:departures_3h", "depot_state:held_3h"}


LEAKS = {
    "an event made known too early": (
        {
            "bus": changed(
                BUS_SQL,
                "event_timestamp, event_timestamp as",
                "event_timestamp - interval 1 hour as event_timestamp, event_timestamp - interval 1 hour as",
            )
        },
        "bus_state:last_late",
    ),
    "the bus's own arrival": (
        {
            "bus": changed(
                BUS_SQL, "late as last_late", "lead(late) over (partition by bus order by event_timestamp) as last_late"
            )
        },
        "bus_state:last_late",
    ),
    "a window that includes the future": (
        {"bus": changed(BUS_SQL, "and current row", "and interval 2 hours following")},
        "bus_state:mean_late",
    ),
    "the mean of the whole month": (
        {
            "bus": changed(
                BUS_SQL,
                "sum(late) over last_day / count(*) over last_day",
                "avg(late) over (partition by bus, partition_key)",
            )
        },
        "bus_state:mean_late",
    ),
    "the end of a trip at its beginning": (
        {"depot": changed(DEPOT_SQL, "sum(held) as held", "sum(late) as held")},
        "depot_state:held_3h",
    ),
    "how long the trips under way will take": (
        {
            "depot": changed(
                DEPOT_SQL, "sum(held) as held", "cast(sum(epoch(event_timestamp - left_at)) as bigint) as held"
            )
        },
        "depot_state:held_3h",
    ),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_refused_and_shown_with_both_values_and_the_raw_row_behind_it(world, leak):
    sql, feature = LEAKS[leak]
    training_set = world.training_set(**sql)
    outcome = audit(world, training_set)
    assert not outcome.passed
    assert outcome.evidence["features"][NOT_KNOWN][feature] > 0
    worst = [row for row in outcome.table if row["feature"] == feature]
    first = worst[0]
    (row,) = training_set.rows.filter(trip=first["trip"]).to_dicts()
    column = feature.replace(":", "__")
    assert first[RULE] == NOT_KNOWN
    assert first["in the training set"] == ("null" if row[column] is None else repr(row[column]))
    assert first["made again"] != first["in the training set"]
    assert first["asked at"] == row["prediction_time"].isoformat()
    assert "UTC, when this became known: raw/trips trip=" in first["can be had from"]
    assert first["can be had from"][:16] > f"{row['prediction_time']:%Y-%m-%d %H:%M}"
    assert str(first["trip"]) in outcome.summary or first != outcome.table[0]
    assert set(outcome.failing["trip"]) <= set(training_set.rows["trip"])
    assert outcome.failing[RULE].to_list()[0] == NOT_KNOWN


def test_the_raw_row_behind_the_bus_s_own_arrival_is_the_trip_that_was_asked_about(world):
    outcome = audit(world, world.training_set(**LEAKS["the bus's own arrival"][0]))
    first = outcome.evidence["first"]
    assert f"raw/trips trip={first['trip']}, {first['entity'].replace(chr(39), '')}" in first["can be had from"]


@pytest.mark.parametrize(
    "overwriting",
    [
        {"staging": STAGING.replace(" -- every version", NEWEST), "bus": BUS_SQL.replace("where is_original", "")},
        {"bus": BUS_SQL.replace("where is_original", "")},
    ],
    ids=["only the newest version", "every version at its event"],
)
def test_a_correction_that_overwrites_the_past_is_refused(world, overwriting):
    outcome = audit(world, world.training_set(**overwriting))
    assert not outcome.passed
    assert outcome.evidence["late_corrections"]["differences"] > 100
    (first, *_) = (row for row in outcome.table if row[RULE] == CORRECTED)
    assert first["feature"].startswith("bus_state:")
    assert first["can be had from"] == "a correction that became known later"


def test_a_correction_overwriting_the_past_is_refused_in_a_year_without_corrections(tmp_path):
    world = bus_world(tmp_path)
    originals = world.lake.read("raw/trips").filter(pl.col("created_timestamp") == pl.col("event_timestamp"))
    world = replace(world, version=world.lake.replace("raw/trips", originals.collect(), ["2013-07", "2013-08"]))
    assert audit(world, world.training_set()).passed
    outcome = audit(world, world.training_set(bus=BUS_SQL.replace("where is_original", "")))
    assert outcome.evidence["differences"] == 0
    assert outcome.evidence["late_corrections"]["differences"] > 100
    assert not outcome.passed


def test_one_cell_that_is_not_what_the_sql_makes_is_found_wherever_it_stands(world):
    outcome = audit(world, tampered(world.training_set(), 1234, "bus_state__last_late"))
    assert not outcome.passed
    assert outcome.evidence["late_corrections"]["differences"] == 1
    assert "do not make this value" in outcome.summary


def test_months_made_by_runs_of_their_own_are_made_again_by_the_same(world):
    """August's rows by August's SQL, July's by July's, each from its own raw version."""
    training_set = world.training_set()
    (whole,) = training_set.made["bus_state"]
    months = [Made((month,), whole.recipe) for month in whole.months]
    assert audit(world, replace(training_set, made={**training_set.made, "bus_state": months})).passed
    other = replace(whole.recipe, query=changed(BUS_SQL, "late as last_late", "late + 1 as last_late"))
    spoiled = [months[0], Made(("2013-08",), other)]
    outcome = audit(world, replace(training_set, made={**training_set.made, "bus_state": spoiled}))
    asked = outcome.failing["prediction_time"]
    assert asked.min() > START + timedelta(days=30)


def test_nothing_compared_is_no_audit(world):
    training_set = world.training_set()
    assert not audit(world, replace(training_set, rows=training_set.rows.clear())).passed
    assert not audit(world, replace(training_set, views=())).passed


def test_late_corrections_keep_key_event_and_partition_and_take_values_of_another_row(world):
    rows = world.lake.read("raw/trips").collect()
    late = START + timedelta(days=45)
    corrected = with_late_corrections(TRIPS, rows, late, SEED, share=0.5)
    assert corrected[: rows.height].equals(rows)
    added = corrected[rows.height :]
    known = rows.filter((pl.col("event_timestamp") < late) & (pl.col("created_timestamp") < late))
    assert added.height == known.height // 2
    assert added["created_timestamp"].unique().to_list() == [late]
    same = ["trip", "event_timestamp", "partition_key"]
    assert added.join(rows, on=same, how="anti").is_empty()
    assert (added["planned"].dt.strftime("%Y-%m") == added["partition_key"]).all()
    changed_values = added.join(rows, on=["trip", "planned", "bus", "held", "late"], how="anti")
    assert changed_values.height > 0.99 * added.height
    assert added.schema["created_timestamp"] == INSTANT
