"""The history check on real months, corrupted so that most columns stay sane by themselves, and on another field.

One file, though a long one: the months and their profiles are made once for all of it.
"""

from calendar import monthrange
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from checks.history import Profile, Table, check_history, profile_of, while_learning
from ml.clock import RealClock
from ml.lake import Lake
from ml.profiles import Profiles
from ml.sources import source_named

MONTHS = [f"2013-{month:02}" for month in range(1, 8)]


class Arrivals:
    """A table's clean months as they arrived, and the profiles that each left."""

    def __init__(self, table, months):
        self.table, self.months = table, months
        self.profiles = {name: profile_of(table, name, rows) for name, rows in months.items()}

    def judge(self, month, rows, history=12, previous=None):
        """Judge `rows` as this month, by at most so many months before it."""
        names = [name for name in self.months if name < month][-history:] if history else []
        return check_history(self.table, month, rows, [self.profiles[name] for name in names], previous)[0]


def arrivals(name):
    source = source_named(name)
    rows = source.read()
    known = source.known_at(rows)
    rows = rows.with_columns(source.partition.alias("partition_key"), event_timestamp=known, created_timestamp=known)
    months = {month: rows.filter(partition_key=month) for month in MONTHS}
    return Arrivals(Table(source.table, source.key, source.schema), months)


@pytest.fixture(scope="module")
def flights():
    return arrivals("flights")


@pytest.fixture(scope="module")
def weather():
    return arrivals("weather")


@pytest.fixture(scope="module")
def mills():
    """Another field: the shifts of six paper mills, with temperature in, flow, energy = flow * drop, and a grade."""

    def month(name, season, seed):
        random = np.random.default_rng(seed)
        days = monthrange(2021, int(name[-2:]))[1]
        hours = np.arange(days * 24).repeat(6)
        mill = np.tile(np.arange(6), days * 24)
        load = np.abs(np.cumsum(random.normal(0, 0.2, (days * 24, 6)), axis=0).ravel() % 6 - 3)
        feed = 20 + season + hours / 300 + 3 * np.sin(hours / 24 * 2 * np.pi) + load + random.normal(0, 0.2, hours.size)
        flow = 50 + 10 * mill + 8 * load + random.normal(0, 1, hours.size)
        start = datetime.fromisoformat(f"{name}-01T00:00:00+00:00")
        stamp = pl.Series([start + timedelta(hours=int(h)) for h in hours], dtype=pl.Datetime("us", "UTC"))
        grades = np.array(["kraft", "news", "tissue"])[(mill + (load > 1.5)) % 3]
        return pl.DataFrame(
            {
                "mill": [f"M{m}" for m in mill],
                "taken_at": stamp,
                "feed": feed.round(2),
                "flow": flow.round(1),
                "energy": (flow * 0.8 + feed * 0.5).round(2),
                "grade": grades,
                "event_timestamp": stamp,
                "created_timestamp": stamp,
            }
        )

    months = {name: month(name, 2.4 * i, i) for i, name in enumerate(["2021-01", "2021-02", "2021-03", "2021-04"])}
    columns = {n: t for n, t in months["2021-01"].schema.items() if "_timestamp" not in n}
    return Arrivals(Table("lab/mills", ("mill", "taken_at"), columns), months)


def shuffled(rows, column, seed=1):
    return rows.with_columns(pl.col(column).shuffle(seed=seed))


@pytest.mark.parametrize("table", ["flights", "weather"])
def test_a_clean_july_passes_with_january_to_june_as_history(table, request):
    known = request.getfixturevalue(table)
    outcome = known.judge("2013-07", known.months["2013-07"])
    assert outcome.passed, outcome.summary
    assert len(outcome.evidence["nearest"]) == 5


@pytest.mark.parametrize("table", ["flights", "weather"])
def test_clean_months_pass_with_a_single_month_as_history(table, request):
    known = request.getfixturevalue(table)
    for month in ("2013-02", "2013-04"):
        outcome = known.judge(month, known.months[month], history=1)
        assert outcome.passed, outcome.summary


@pytest.mark.parametrize("table", ["flights", "weather"])
def test_a_clean_january_passes_with_no_history_at_all(table, request):
    known = request.getfixturevalue(table)
    outcome = known.judge("2013-01", known.months["2013-01"])
    assert outcome.passed, outcome.summary


RELATIONS = {
    "a column shuffled": lambda f: shuffled(f, "dest"),
    "a twentieth of the delays with another sign": lambda f: f.with_columns(
        arr_delay=pl.when(pl.int_range(pl.len()) % 20 == 0).then(-pl.col("arr_delay")).otherwise("arr_delay")
    ),
    "kilometres in one airport": lambda f: f.with_columns(
        distance=pl.when(pl.col("origin") == "LGA").then(pl.col("distance") * 16 // 10).otherwise("distance")
    ),
    "two airports exchanged": lambda f: f.with_columns(pl.col("origin").replace({"JFK": "LGA", "LGA": "JFK"})),
    "arrival and departure exchanged": lambda f: f.rename({"dep_time": "arr_time", "arr_time": "dep_time"}),
    "five hours early in UTC": lambda f: f.with_columns(pl.col("time_hour") - pl.duration(hours=5)),
    "minutes since arrival in place of minutes late": lambda f: f.with_columns(arr_delay=pl.col("air_time")),
    "tail numbers of the row before": lambda f: f.with_columns(pl.col("tailnum").shift(1)),
}


@pytest.mark.parametrize("fault", RELATIONS)
@pytest.mark.parametrize("history", [1, 2])
def test_a_fault_that_leaves_each_column_sane_is_refused(flights, fault, history):
    month = flights.months["2013-03"]
    outcome = flights.judge("2013-03", RELATIONS[fault](month).select(month.columns), history)
    assert not outcome.passed


def test_a_shuffled_column_is_refused_though_each_column_alone_is_as_before(weather):
    month = weather.months["2013-05"]
    outcome = weather.judge("2013-05", shuffled(month, "pressure"))
    rules = {row["rule"] for row in outcome.evidence["broken"]}
    assert not outcome.passed
    assert "like its own row before" in rules
    assert not rules & {"level", "mean", "spread", "nulls", "distinct"}
    assert "pressure" in outcome.summary


def test_a_fault_in_the_later_half_of_a_first_month_is_refused_without_history(flights):
    month = flights.months["2013-01"]
    late = pl.col("time_hour") > month["time_hour"].median()
    fault = month.with_columns(dep_delay=pl.when(late).then(pl.col("dep_delay") * 60).otherwise("dep_delay"))
    assert not flights.judge("2013-01", fault).passed


def test_a_column_that_begins_to_count_time_does_not_escape(weather):
    month = weather.months["2013-05"].sort("time_hour")
    assert not weather.judge("2013-05", month.with_columns(pl.col("temp").sort())).passed


def test_last_month_with_new_dates_is_refused(weather):
    month, last = weather.months["2013-04"], weather.months["2013-03"]
    dates = [n for n, t in month.schema.items() if t == pl.Datetime]
    stale = last.with_columns(pl.col(dates) + pl.duration(days=31), month=pl.lit(4, pl.Int64)).filter(
        pl.col("day") <= 30
    )
    outcome = weather.judge("2013-04", stale)
    assert not outcome.passed
    assert "seen before" in {row["rule"] for row in outcome.evidence["broken"]}


def test_a_day_in_place_of_the_next_is_refused(weather):
    month = weather.months["2013-05"]
    again = month.filter(day=14).with_columns(
        pl.col("time_hour", "event_timestamp", "created_timestamp") + pl.duration(days=1), day=pl.lit(15, pl.Int64)
    )
    outcome = weather.judge("2013-05", pl.concat([month.filter(pl.col("day") != 15), again.select(month.columns)]))
    assert not outcome.passed


def test_rows_lost_at_random_are_refused_though_so_few_are_no_odd_count(flights):
    month = flights.months["2013-03"]
    lost = month.filter(pl.Series(np.random.default_rng(7).random(month.height) > 0.1))
    outcome = flights.judge("2013-03", lost)
    assert not outcome.passed
    assert {row["rule"] for row in outcome.evidence["broken"]} == {"rhythm"}


def test_a_sensor_that_stands_still_is_refused(weather):
    month = weather.months["2013-06"].sort("time_hour")
    stuck = (pl.col("origin") == "JFK") & pl.col("day").is_between(3, 9)
    held = month.with_columns(pressure=pl.when(stuck).then(1013.2).otherwise("pressure"))
    outcome = weather.judge("2013-06", held)
    assert "longest run" in {row["rule"] for row in outcome.evidence["broken"]}


def test_the_evidence_names_what_was_seen_what_was_expected_and_the_rows(flights):
    month = flights.months["2013-05"]
    odd = pl.int_range(pl.len()) % 25 == 0
    outcome = flights.judge("2013-05", month.with_columns(dep_delay=pl.when(odd).then(600).otherwise("dep_delay")))
    worst = outcome.table[0]
    assert not worst["passed"]
    assert {"rule", "column", "observed", "expected", "months"} <= set(worst)
    broken = {row["column"] for row in outcome.table if not row["passed"]}
    assert "dep_time - sched_dep_time - dep_delay on the clock" in broken
    assert set(month.columns) <= set(outcome.failing.columns)
    assert outcome.failing.height <= 1_000
    assert (outcome.failing.filter(pl.col("rule").str.contains("on the clock"))["dep_delay"] == 600).all()
    assert outcome.plot.startswith(b"\x89PNG")


def test_a_dropped_a_new_and_a_retyped_column_are_named(flights):
    month = flights.months["2013-02"]
    rows = month.drop("air_time").with_columns(pl.col("distance").cast(pl.String), extra=1)
    outcome = flights.judge("2013-02", rows)
    schema = [row["column"] for row in outcome.table if row["rule"] == "schema"]
    assert sorted(schema) == ["air_time is missing", "distance is String, declared Int64", "extra is new"]


@pytest.mark.parametrize("rows", ["none", "one", "no key"])
def test_odd_frames_are_refused_and_not_an_error(flights, rows):
    month = flights.months["2013-02"]
    odd = {
        "none": month.clear(),
        "one": month.head(1),
        "no key": month.drop("time_hour", "carrier", "flight", "origin"),
    }
    assert not flights.judge("2013-02", odd[rows]).passed


def test_a_few_corrections_pass_and_a_rewritten_month_needs_a_person(weather):
    month = weather.months["2013-05"]
    later = datetime(2013, 6, 9, tzinfo=UTC)
    few = month.head(40).with_columns(temp=pl.col("temp") + 9, created_timestamp=later)
    assert weather.judge("2013-05", pl.concat([month, few]), previous=month).passed
    many = month.head(400).with_columns(temp=pl.col("temp") + 1.5, humid=pl.col("humid") + 9, created_timestamp=later)
    outcome = weather.judge("2013-05", pl.concat([month, many]), previous=month)
    assert not outcome.passed
    assert "keys whose values changed" in {row["column"] for row in outcome.table if row["rule"] == "restated"}
    assert outcome.failing["rule"].str.starts_with("restated").any()


def test_a_short_past_says_what_is_unlike_it_and_blocks_only_what_needs_no_past(weather):
    month = weather.months["2013-05"]
    moved = weather.judge("2013-05", month.with_columns(pl.col("temp") * 2), history=1)
    assert not moved.passed
    past = [weather.profiles["2013-04"]]
    learning = while_learning(moved, past, 6)
    assert learning.passed
    assert learning.summary.startswith(
        "passes while the table has 1 of 6 good months of 1,000 rows or more to compare with, but "
    )
    assert moved.summary in learning.summary
    assert learning.evidence == moved.evidence
    later = datetime(2013, 6, 9, tzinfo=UTC)
    many = month.head(400).with_columns(temp=pl.col("temp") + 9, created_timestamp=later)
    for wrong in (
        weather.judge("2013-05", month.drop("temp"), history=1),
        weather.judge("2013-05", pl.concat([month, month.head(9)]), history=1),
        weather.judge("2013-05", pl.concat([month, many]), history=1, previous=month),
    ):
        assert not wrong.passed
        assert while_learning(wrong, past, 6) is wrong
    assert while_learning(moved, past, 1) is moved
    assert while_learning(moved, [replace(past[0], rows=999)], 1).passed


def test_a_table_without_months_is_judged_by_its_last_good_version():
    source = source_named("planes")
    table, rows = Table(source.table, source.key, source.schema), source.read()
    assert check_history(table, "", rows, [], None)[0].passed
    assert check_history(
        table,
        "",
        pl.concat([rows, rows.head(2).with_columns(tailnum=pl.lit("N0") + pl.col("seats").cast(str))]),
        [],
        rows,
    )[0].passed
    assert not check_history(table, "", shuffled(rows, "seats"), [], rows)[0].passed


def test_rows_out_of_a_reference_tables_own_fences_are_shown():
    source = source_named("airports")
    table, rows = Table(source.table, source.key, source.schema), source.read()
    exchanged = rows.with_columns(pl.col("lat").alias("lon"), pl.col("lon").alias("lat"))
    outcome = check_history(table, "", exchanged, [], rows)[0]
    assert not outcome.passed
    assert outcome.failing.height


def test_clean_months_of_another_field_pass(mills):
    for month, rows in mills.months.items():
        outcome = mills.judge(month, rows)
        assert outcome.passed, f"{month}: {outcome.summary}"


FAULTS = {
    "half the energy in another unit": lambda f: f.with_columns(
        energy=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.col("energy") * 3.6).otherwise("energy")
    ),
    "one mill's flow in another unit": lambda f: f.with_columns(
        flow=pl.when(pl.col("mill") == "M2").then(pl.col("flow") * 0.4).otherwise("flow")
    ),
    "flow shuffled": lambda f: shuffled(f, "flow"),
    "feed six hours late": lambda f: f.sort("mill", "taken_at").with_columns(pl.col("feed").shift(6).over("mill")),
    "a new grade": lambda f: f.with_columns(
        grade=pl.when(pl.col("flow") > 100).then(pl.lit("board")).otherwise("grade")
    ),
    "one day empty": lambda f: f.with_columns(
        feed=pl.when(pl.col("taken_at").dt.day() == 9).then(None).otherwise("feed")
    ),
    "one mill missing": lambda f: f.filter(pl.col("mill") != "M4"),
    "rows twice": lambda f: pl.concat([f, f]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_in_another_field_are_refused(mills, fault):
    assert not mills.judge("2021-04", FAULTS[fault](mills.months["2021-04"])).passed


def test_a_profile_kept_as_json_judges_as_the_profile_itself(weather):
    month = weather.months["2013-03"]
    past = [weather.profiles[name] for name in ("2013-01", "2013-02")]
    kept = [Profile.from_json(profile.to_json()) for profile in past]
    outcomes = [check_history(weather.table, "2013-03", shuffled(month, "temp"), p, None)[0] for p in (past, kept)]
    names = [[row["column"] for row in outcome.evidence["broken"]] for outcome in outcomes]
    assert names[0] == names[1]


def test_a_profile_is_small(flights):
    assert len(flights.profiles["2013-07"].to_json()) < 200_000


def test_profiles_are_given_back_for_exactly_the_versions_asked_for(tmp_path):
    profiles = Profiles(Lake(tmp_path), RealClock(), "1")
    assert profiles.of("raw/x", {"2013-01": 0}) == {}
    profiles.record("raw/x", 0, "2013-01", '{"a": 1}')
    profiles.record("raw/x", 1, "2013-02", '{"a": 2}')
    profiles.record("raw/x", 1, "2013-02", '{"a": 3}')
    profiles.record("raw/y", 0, "2013-01", '{"a": 4}')
    assert profiles.of("raw/x", {"2013-01": 0, "2013-02": 1}) == {"2013-01": '{"a": 1}', "2013-02": '{"a": 3}'}
    assert profiles.of("raw/x", {"2013-01": 1}) == {}
    assert Profiles(Lake(tmp_path), RealClock(), "2").of("raw/x", {"2013-01": 0}) == {}
