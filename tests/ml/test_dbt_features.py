"""dbt builds the feature tables on nine real days around month's ends and the beginning of summer time.

One file, though a long one: dbt builds these tables once for all of it.
"""

import dataclasses
import json
import shutil
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner

from checks.dbt_tests import check_dbt_tests
from checks.outcome import RULE
from ml.clock import ReplayClock
from ml.feature_views import load_feature_views
from ml.lake import Lake
from ml.landing import land
from ml.look_back import load_look_backs
from ml.models.flight_delay import FLIGHT_DELAY
from ml.sources import SOURCES, source_named

PROJECT = Path(__file__).parents[2] / "dbt_project"
DAYS = [date(2013, *d) for d in [(1, 30), (1, 31), (2, 1), (2, 2), (2, 27), (2, 28), (3, 1), (3, 9), (3, 10)]]
MONTHS = ["2013-01", "2013-02", "2013-03"]
VIEWS = [
    "aircraft",
    "aircraft_departure",
    "aircraft_state",
    "carrier_performance",
    "destination_congestion",
    "flight_history",
    "origin_congestion",
    "origin_en_route",
    "route_performance",
    "weather_observation",
]
TABLES = [*VIEWS, "flight_outcomes"]
BUILD_FEATURES = ["run", "--select", "+path:models/features"]
CORRECTED_AT = datetime(2013, 3, 20, tzinfo=UTC)


@dataclass(frozen=True)
class Frame:
    """A reader of rows in memory."""

    rows: pl.DataFrame

    def read(self, schema):
        return self.rows


def sliced(name):
    rows = source_named(name).read()
    return rows.filter(pl.date("year", "month", "day").is_in(DAYS)) if {"month", "day"} <= set(rows.columns) else rows


def parts(home):
    """The lake and the clock of a home."""
    return Lake(home / "lake"), ReplayClock(home / "clock.json")


def land_rows(lake, clock, name, rows, partitions=None):
    source = dataclasses.replace(source_named(name), reader=Frame(rows))
    partitions = None if source.partition is None else partitions or MONTHS
    list(land(source, lake, clock, partitions))


def dbt(home, warehouse, command, start, end, project=PROJECT, **variables):
    """Run dbt on the lake in `home`, into <home>/<warehouse>.duckdb; return status and message by node."""
    given = {"start_month": start, "end_month": end, **variables}
    environment = {
        "HEADWATER_DBT_LAKE": str(home / "lake"),
        "HEADWATER_WAREHOUSE": str(home / f"{warehouse}.duckdb"),
        "DBT_TARGET_PATH": str(home / ("target" if project == PROJECT else "target_of_copy")),
        "DBT_LOG_PATH": str(home / "logs"),
        "DO_NOT_TRACK": "true",
    }
    where = ["--project-dir", str(project), "--profiles-dir", str(project), "--quiet"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        done = dbtRunner().invoke([*command, "--vars", str(given), *where])
    DuckDBConnectionManager.close_all_connections()
    assert done.exception is None
    return {result.node.name: (str(result.status), result.message) for result in done.result}


def built(results):
    """Assert that no node failed."""
    assert results
    assert {name: result for name, result in results.items() if result[0] not in ("success", "pass")} == {}


def table(home, warehouse, name, months=MONTHS):
    with duckdb.connect(home / f"{warehouse}.duckdb", read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        frame = pl.from_arrow(connection.sql(f"select * from features.{name} order by all").to_arrow_table())
    return frame.filter(pl.col("partition_key").is_in(months))


def rows_at(home, name, moment, **key):
    """The rows of a view's key at one moment, as dicts without bookkeeping."""
    rows = table(home, "year", name).filter(event_timestamp=moment, **key)
    assert rows.is_empty() or rows["partition_key"].unique().to_list() == [f"{moment:%Y-%m}"]
    return rows.drop("partition_key").to_dicts()


def arrival_delays(home, first, last):
    """The arrival delays of all flights that landed from `first` to `last`, both included, in minutes."""
    originals = Lake(home / "lake").read("raw/flights").filter(pl.col("created_timestamp") == pl.col("event_timestamp"))
    landed = originals.filter(pl.col("event_timestamp").is_between(first, last))
    return landed.collect()["arr_delay"].drop_nulls()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Three months built at once and tested; beside it one at a time in order, and March alone."""
    home = tmp_path_factory.mktemp("features")
    ReplayClock(home / "clock.json").set(CORRECTED_AT)
    for source in SOURCES:
        land_rows(*parts(home), source.name, sliced(source.name))
    built(dbt(home, "year", ["build"], "2013-01", "2013-03"))
    for month in MONTHS:
        built(dbt(home, "months", BUILD_FEATURES, month, month))
    built(dbt(home, "march", BUILD_FEATURES, "2013-03", "2013-03"))
    return home


def correct(home, minutes):
    """Land a flight of February with an arrival so much later; return the raw table's version."""
    delay = pl.col("arr_delay") + pl.when(CORRECTED).then(minutes).otherwise(0)
    land_rows(*parts(home), "flights", sliced("flights").with_columns(arr_delay=delay), ["2013-02"])
    return Lake(home / "lake").version("raw/flights")


CORRECTED = (pl.date("year", "month", "day") == date(2013, 2, 2)) & (pl.format("{}{}", "carrier", "flight") == "AA1141")


@pytest.fixture(scope="module")
def rebuilt(home):
    """February built again in a copy of the three months: a flight corrected, all weather of the month lost.

    The flight is corrected once more after the version that dbt is told to read.
    """
    version = correct(home, 90)
    correct(home, 120)
    lake = Lake(home / "lake")
    weather = lake.read("raw/weather").collect()
    kept = weather.filter(pl.col("event_timestamp").dt.strftime("%Y-%m") != "2013-02")
    lake.replace("raw/weather", kept, MONTHS)
    shutil.copy(home / "year.duckdb", home / "again.duckdb")
    built(dbt(home, "again", BUILD_FEATURES, "2013-02", "2013-02", raw_versions={"flights": version}))
    return home


@pytest.mark.parametrize("name", TABLES)
def test_a_back_fill_by_months_gives_the_rows_of_one_full_build(home, name):
    by_months, at_once = table(home, "months", name), table(home, "year", name)
    assert at_once.height > 50
    assert by_months.equals(at_once)


@pytest.mark.parametrize("name", TABLES)
def test_a_month_built_alone_reads_all_that_its_windows_can_see(home, name):
    """March's first hours (UTC) see 28 days back: the first hours of February, flights of January's schedule."""
    alone = table(home, "march", name)
    assert alone.height > 50 or name == "aircraft"
    assert alone.equals(table(home, "year", name, ["2013-03"]))


def test_a_window_of_march_counts_a_flight_of_january_s_schedule(home):
    """LaGuardia to Atlanta, 1 March 04:31 UTC: MQ4662 of 31 January landed 28 days before, to the minute."""
    (row,) = rows_at(home, "route_performance", datetime(2013, 3, 1, 4, 31, tzinfo=UTC), origin="LGA", dest="ATL")
    flights = Lake(home / "lake").read("raw/flights").filter(origin="LGA", dest="ATL").collect()
    ago = row["event_timestamp"] - flights["event_timestamp"]
    assert row["flights_28d"] == ago.is_between(timedelta(0), timedelta(days=28)).sum() == 115


@pytest.mark.parametrize("name", TABLES)
def test_building_a_month_again_touches_no_other_month(rebuilt, name):
    others = ["2013-01", "2013-03"]
    assert table(rebuilt, "again", name, others).equals(table(rebuilt, "year", name, others))


def test_a_month_without_rows_is_emptied(rebuilt):
    assert table(rebuilt, "again", "weather_observation", ["2013-02"]).is_empty()


def test_a_correction_is_one_more_version_of_the_leg_and_moves_no_window(rebuilt):
    """And of the two corrections only the one in the pinned raw version is there."""
    before, after = (table(rebuilt, w, "aircraft_state", ["2013-02"]) for w in ("year", "again"))
    added = after.join(before, on=before.columns, how="anti", nulls_equal=True)
    assert added.height == 1
    assert after.height == before.height + 1
    assert added["created_timestamp"][0] == CORRECTED_AT
    original = before.join(added, on=["tailnum", "event_timestamp"], how="semi")
    assert added["last_arr_delay"].to_list() == [original["last_arr_delay"][0] + 90]
    for name in ("origin_congestion", "destination_congestion", "carrier_performance", "route_performance"):
        assert table(rebuilt, "again", name).equals(table(rebuilt, "year", name))
    since = ["legs_today", "legs_today_since", "last_turnaround"]
    assert added.select(since).equals(original.select(since))


def test_a_corrected_outcome_stands_once_and_counts_from_its_correction(rebuilt):
    outcome = table(rebuilt, "again", "flight_outcomes").filter(pl.col("flight_id") == "2013-02-02/AA1141/JFK")
    assert outcome["label_timestamp"].to_list() == [CORRECTED_AT]
    assert outcome["arrived_late"].to_list() == [1]


def test_a_congestion_row_worked_by_hand(home):
    """LaGuardia, 21:57 on 28 February, in UTC 02:57 on 1 March; two flights left exactly 3 hours before."""
    moment = datetime(2013, 3, 1, 2, 57, tzinfo=UTC)
    delays = [-13, -3, 3, 0, 0, -6, -5, -9, -8, 7, -8, -7, 0, 4, 8, 19, -1, -6, -8, -3]
    delays += [39, 0, -11, -3, 39, 2, -4, -15, -9, -8, -8, -8, -5, -3, 64, 108, 17, -8, -1, -2]
    rows = table(home, "year", "origin_congestion").filter(
        (pl.col("origin") == "LGA") & (pl.col("event_timestamp") == moment)
    )
    assert rows.to_dicts() == [
        {
            "origin": "LGA",
            "departures_3h": 40,
            "mean_dep_delay_3h": sum(delays) / 40,
            "max_dep_delay_3h": 108.0,
            "late_share_3h": 6 / 40,
            "event_timestamp": moment,
            "created_timestamp": moment,
            "partition_key": "2013-03",
        }
    ]


def test_a_destination_row_worked_by_hand(home):
    """Burlington, 18:40 UTC on 31 January; the first of three landed exactly three hours before."""
    moment = datetime(2013, 1, 31, 18, 40, tzinfo=UTC)
    assert rows_at(home, "destination_congestion", moment, dest="BTV") == [
        {
            "dest": "BTV",
            "arrivals_3h": 3,
            "mean_arr_delay_3h": (17 - 8 + 45) / 3,
            "max_arr_delay_3h": 45.0,
            "late_share_3h": 2 / 3,
            "event_timestamp": moment,
            "created_timestamp": moment,
        }
    ]


def test_a_route_row_worked_by_hand(home):
    """Newark to Milwaukee, 04:14 UTC on 2 March, when a cancelled flight should have come.

    EV4224 landed 28 days before to the minute and counts; the twelve before it do not.
    """
    moment = datetime(2013, 3, 2, 4, 14, tzinfo=UTC)
    everyone = arrival_delays(home, moment - timedelta(days=28), moment)
    delays = [41, -14, 6, None, 107, 83, 2, 24, -5, -11, -1, 81, 44, None]
    assert rows_at(home, "route_performance", moment, origin="EWR", dest="MKE") == [
        {
            "origin": "EWR",
            "dest": "MKE",
            "flights_28d": 14,
            "mean_arr_delay_28d": sum(d for d in delays if d is not None) / 12,
            "late_share_28d": 6 / 12,
            "excess_arr_delay_28d": 357 / 12 - everyone.sum() / everyone.len(),
            "excess_late_share_28d": 6 / 12 - (everyone >= 15).sum() / everyone.len(),
            "lost_share_28d": 2 / 14,
            "event_timestamp": moment,
            "created_timestamp": moment,
        }
    ]


def test_a_carrier_row_worked_by_hand(home):
    """Mesa, 22:25 UTC on 1 March: what landed since 22 February, not the six flights of the month's turn before."""
    moment = datetime(2013, 3, 1, 22, 25, tzinfo=UTC)
    everyone = arrival_delays(home, moment - timedelta(days=7), moment)
    assert rows_at(home, "carrier_performance", moment, carrier="YV") == [
        {
            "carrier": "YV",
            "flights_7d": 5,
            "mean_arr_delay_7d": (59 + 212 - 29 - 6 + 1) / 5,
            "late_share_7d": 2 / 5,
            "excess_arr_delay_7d": 237 / 5 - everyone.sum() / everyone.len(),
            "excess_late_share_7d": 2 / 5 - (everyone >= 15).sum() / everyone.len(),
            "lost_share_7d": 0.0,
            "event_timestamp": moment,
            "created_timestamp": moment,
        }
    ]


def test_an_aircraft_s_day_worked_by_hand(home):
    """N11165 landed for the third time on 10 March in New York, at 03:06 UTC on the 11th; that day began at 05:00 UTC.

    It left at 23:29 UTC, the leg before had landed at 19:08.
    """
    moment = datetime(2013, 3, 11, 3, 6, tzinfo=UTC)
    assert rows_at(home, "aircraft_state", moment, tailnum="N11165") == [
        {
            "tailnum": "N11165",
            "last_arrived_at": int(moment.timestamp()),
            "last_dep_delay": -4.0,
            "last_arr_delay": -4.0,
            "last_air_time": 189.0,
            "last_distance": 1215.0,
            "last_dest": "TUL",
            "legs_today": 3,
            "legs_today_since": int(datetime(2013, 3, 10, 5, tzinfo=UTC).timestamp()),
            "last_turnaround": 4 * 60 + 21.0,
            "event_timestamp": moment,
            "created_timestamp": moment,
        }
    ]


def test_a_turnaround_from_longer_ago_than_three_days_is_unknown(home):
    legs = table(home, "year", "aircraft_state")
    seconds = pl.col("last_arrived_at") - pl.col("last_arrived_at").shift().over("tailnum", order_by="last_arrived_at")
    long_ago = legs.filter(seconds > 3 * 86_400)
    assert long_ago.height > 50
    assert long_ago["last_turnaround"].null_count() == long_ago.height


def test_an_aircraft_is_known_since_the_year_began_with_its_age_then(home):
    moment = datetime(2013, 1, 1, tzinfo=UTC)
    assert rows_at(home, "aircraft", moment, tailnum="N11165") == [
        {
            "tailnum": "N11165",
            "age_years": 9,
            "seats": 55,
            "engines": 2,
            "event_timestamp": moment,
            "created_timestamp": moment,
        }
    ]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("destination_congestion", ["dest"]),
        ("carrier_performance", ["carrier"]),
        ("route_performance", ["origin", "dest"]),
    ],
)
def test_outcomes_of_one_key_in_one_minute_make_one_row(home, name, key):
    windows = table(home, "year", name)
    assert not windows.select(*key, "event_timestamp").is_duplicated().any()
    assert windows.height < sliced("flights").height


def test_flights_that_leave_in_one_minute_make_one_row(home):
    congestion = table(home, "year", "origin_congestion")
    assert not congestion.select("origin", "event_timestamp").is_duplicated().any()
    assert congestion.height < sliced("flights")["dep_delay"].count()


def test_an_outcome_is_asked_two_hours_ahead_also_on_the_day_that_loses_an_hour(home):
    outcome = table(home, "year", "flight_outcomes").filter(pl.col("flight_id").str.starts_with("2013-03-10/"))
    offsets = (outcome["scheduled_departure"] - outcome["scheduled_departure_local"]).unique().to_list()
    assert offsets == [4 * 3600]
    asked = outcome["prediction_time"].dt.epoch("s") + 7200
    assert asked.to_list() == outcome["scheduled_departure"].to_list()


def test_flights_that_never_arrived_have_no_label_and_no_leg(home):
    outcomes = table(home, "year", "flight_outcomes")
    missing = outcomes.filter(pl.col("arr_delay").is_null())
    assert missing.height > 50
    assert missing["arrived_late"].null_count() == missing["label_timestamp"].null_count() == missing.height


def test_an_impossible_wind_is_unknown(home):
    assert table(home, "year", "weather_observation")["wind_speed"].max() < 253


# A table, what happens to it, and the test and the rule in it that must say so.
DAMAGE = [
    ("aircraft_state", "delete from aircraft_state where tailnum = 'N11165'", "rows", "missing"),
    ("aircraft_state", "update aircraft_state set last_arrived_at = 0", "conditions", "arrival_is_event"),
    ("carrier_performance", "update carrier_performance set carrier = 'ZZ'", "rows", "not in stg_nycflights__flights"),
    (
        "route_performance",
        "update route_performance set late_share_28d = 0.123",
        "conditions",
        "late_share_is_of_arrivals",
    ),
    (
        "weather_observation",
        "update weather_observation set partition_key = '2013-02'",
        "conditions",
        "within_its_month",
    ),
    (
        "origin_congestion",
        "update origin_congestion set created_timestamp = '2013-01-01'",
        "conditions",
        "known_after_event",
    ),
    (
        "destination_congestion",
        "update destination_congestion set mean_arr_delay_3h = 999",
        "conditions",
        "mean_below_max",
    ),
    ("flight_outcomes", "insert into flight_outcomes from flight_outcomes", "rows", "twice"),
    ("flight_outcomes", "update flight_outcomes set label_timestamp = null", "conditions", "label_has_its_instant"),
    ("flight_outcomes", "update flight_outcomes set carrier = 'ZZ'", "names", "carrier in airlines"),
    (
        "flight_outcomes",
        "update flight_outcomes set distance = 100 where carrier = 'ZZ' and random() < 0.5",
        "distances",
        "distance differs",
    ),
]


@pytest.fixture(scope="module")
def damaged(home):
    """The warehouse with all the damage done, and what dbt's tests said of it."""
    warehouse = home / "damaged.duckdb"
    shutil.copy(home / "year.duckdb", warehouse)
    with duckdb.connect(warehouse) as connection:
        connection.execute("use features")
        for _, statement, _, _ in DAMAGE:
            connection.execute(statement)
    dbt(home, "damaged", ["test", "--select", "path:models/features"], "2013-01", "2013-03")
    return warehouse, json.loads((home / "target" / "run_results.json").read_text())


@pytest.mark.parametrize(("name", "statement", "test", "rule"), DAMAGE)
def test_dbt_s_tests_refuse_a_damaged_table_and_show_the_rule_and_rows(home, damaged, name, statement, test, rule):
    warehouse, results = damaged
    outcome = check_dbt_tests(home / "target" / "manifest.json", results, name, warehouse)
    assert not outcome.passed
    (row,) = [row for row in outcome.table if row["test"] == f"{name}_{test}"]
    assert row["status"] == "fail"
    assert rule in row["broken"]
    assert outcome.failing[RULE].str.contains(f"{name}_{test}: .*{rule}").any()
    assert [row["status"] for row in outcome.table] == sorted(row["status"] for row in outcome.table)  # "fail" first


def test_every_feature_table_and_what_changes_by_month_has_few_tests_of_its_own(home):
    nodes = json.loads((home / "target" / "manifest.json").read_text())["nodes"]
    tested = [node["attached_node"].split(".")[-1] for node in nodes.values() if node["resource_type"] == "test"]
    months = {f"stg_nycflights__{source.name}" for source in SOURCES if source.partition is not None}
    assert months | set(TABLES) == set(tested), "reference tables are judged by their raw suites"
    assert len(tested) < 30


def test_the_manifest_declares_every_column_that_is_built_and_what_the_model_reads(home):
    views = {view.name: view for view in load_feature_views(home / "target" / "manifest.json")}
    assert sorted(views) == VIEWS
    for name, view in views.items():
        declared = [*view.join_keys, *[field.name for field in view.fields]]
        built = table(home, "year", name).drop("event_timestamp", "created_timestamp", "partition_key").columns
        assert built == declared
    for reference in FLIGHT_DELAY.features:
        view, feature = reference.split(":")
        assert feature in [field.name for field in views[view].fields]


def test_the_sql_reads_just_the_raw_months_that_the_guard_is_asked_for(home):
    dbt(home, "march", ["compile", "--select", "path:models/features"], "2013-03", "2013-03")
    look_backs = load_look_backs(home / "target" / "manifest.json")
    months = ["2013-03", "2013-02", "2013-01"]
    for name in (
        "aircraft_state",
        "carrier_performance",
        "origin_congestion",
        "route_performance",
        "weather_observation",
    ):
        sql = (home / "target" / "compiled" / "headwater" / "models" / "features" / f"{name}.sql").read_text()
        first = months[look_backs[f"model.headwater.{name}"]]
        assert f"partition_key between '{first}' and '2013-03'" in sql
    read = {unique_id.split(".")[-1]: n for unique_id, n in look_backs.items() if unique_id.startswith("source.")}
    assert read == {"flights": 2, "weather": 1, "planes": 0}


UNDECLARED = {
    "a column that the YAML lacks": ("aircraft.sql", "    seats,\n", "    seats,\n    speed,\n", "speed"),
    "a column that the table lacks": ("aircraft.sql", "    seats,\n", "", "seats"),
    "a column of another type": ("aircraft.sql", "    seats,\n", "    cast(seats as double) as seats,\n", "seats"),
}


@pytest.mark.parametrize("case", UNDECLARED)
def test_a_difference_between_sql_and_yaml_fails_the_build_with_file_and_column(home, tmp_path, case):
    file, old, new, column = UNDECLARED[case]
    project = shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns("target", "logs"))
    path = project / "models" / "features" / file
    path.write_text(path.read_text().replace(old, new))
    results = dbt(home, f"undeclared{len(column)}", ["run", "--select", "+aircraft"], "2013-01", "2013-01", project)
    status, message = results["aircraft"]
    assert status == "error"
    assert f"models/features/{file}" in message
    assert column in message
