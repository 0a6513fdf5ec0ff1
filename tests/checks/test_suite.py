"""Suites: what follows from a declaration, and what a suite file must be."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest

from checks.column_statistics import Statistics
from checks.expectation_run import run
from checks.expectations import check_expectations
from checks.suite import refuse_strangers, suite_of_feature_table, suite_of_source
from ml.lake import WHOLE
from ml.months import Months
from ml.source import CsvReader, Source

INSTANT = pl.Datetime("us", "UTC")
GAUGES = Source(
    name="river_gauges",
    description="Water levels.",
    owner="team:rivers",
    reader=CsvReader("gauges.csv"),
    columns={"gauge": (pl.String(), "Gauge."), "level": (pl.Float64(), "Metres.")},
    key=("gauge",),
    known_at=lambda frame: frame["event_timestamp"],
)
MONTHLY = replace(GAUGES, partition=pl.lit("2020-02"), months=Months("2020-02"))
NOW = datetime(2020, 2, 10, tzinfo=UTC)


def rows(gauges=("a", "b"), levels=(1.0, 2.0), event=NOW, created=NOW):
    frame = pl.DataFrame({"gauge": gauges, "level": levels}, schema={"gauge": pl.String, "level": pl.Float64})
    return frame.with_columns(
        event_timestamp=pl.lit(event, INSTANT),
        created_timestamp=pl.lit(created, INSTANT),
        partition_key=pl.lit("2020-02"),
    )


def write(folder, *expectations, name="raw_river_gauges", **computed):
    (folder / f"{name}.json").write_text(json.dumps({"computed": computed, "expectations": expectations}))


def between(column, low=None, high=None, **meta):
    kwargs = {"column": column, "min_value": low, "max_value": high}
    return {"type": "expect_column_values_to_be_between", "kwargs": kwargs, **({"meta": meta} if meta else {})}


def check(folder, frame, source=MONTHLY, month="2020-02"):
    return check_expectations(suite_of_source(source, folder), frame, month)


def test_a_source_without_a_suite_file_still_has_the_contract_of_its_declaration(tmp_path):
    assert check(tmp_path, rows()).passed
    whole = rows().drop("partition_key")
    assert check(tmp_path, whole, GAUGES, WHOLE).passed


CONTRACT = {
    "no rows": (rows((), ()), "row count to be at least 1"),
    "a key twice": (rows(("a", "a")), "gauge, created_timestamp: compound columns to be unique"),
    "no key": (rows(("a", None)), "gauge: values to not be null"),
    "known before it happened": (
        rows(created=datetime(2020, 2, 9, tzinfo=UTC)),
        "created_timestamp >= event_timestamp",
    ),
    "of another month": (rows(event=datetime(2020, 3, 5, tzinfo=UTC)), "event_timestamp: values to be 2020-01-29"),
    "without a column": (rows().drop("level"), "level is missing"),
    "another type": (rows().with_columns(level=pl.lit(1)), "level is Int32, declared float"),
    "a column more": (rows().with_columns(answer=pl.lit(1)), "answer is not declared"),
}


@pytest.mark.parametrize("case", CONTRACT)
def test_the_contract_is_judged(tmp_path, case):
    frame, said = CONTRACT[case]
    outcome = check(tmp_path, frame)
    assert not outcome.passed
    assert said in outcome.summary


def test_a_column_that_the_declaration_lost_may_stay_in_the_table_without_values(tmp_path):
    assert check(tmp_path, rows().with_columns(old=pl.lit(None, pl.Int64))).passed


def test_a_correction_known_long_after_the_month_is_no_fault(tmp_path):
    frame = pl.concat([rows(), rows(created=datetime(2020, 8, 1, tzinfo=UTC))])
    assert check(tmp_path, frame).passed


def test_an_expectation_may_name_a_computed_column(tmp_path):
    write(tmp_path, between("feet", high=4), feet="level * 3.28")
    outcome = check(tmp_path, rows())
    assert "feet: values to be at most 4: 1 of 2 rows do not (50.0%), such as feet=6.56, gauge=b" in outcome.summary
    assert "feet" not in outcome.failing.columns


def test_an_expectation_that_raises_is_broken_and_ends_no_other(tmp_path):
    raising = [
        between("gauge", 1, 2),
        {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "gauge", "regex": "("}},
        {"type": "expect_column_values_to_be_wonderful", "kwargs": {"column": "gauge"}},
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "gauge", "unknown": 1}},
    ]
    write(tmp_path, *raising, between("level", 0, 1))
    outcome = check(tmp_path, rows())
    broken = [row for row in outcome.table if not row["passed"]]
    assert len(broken) == len(raising) + 1
    assert all(row["observed"] for row in broken)
    assert [row["observed"] for row in broken if row["column"] == "level"] == ["1 of 2 rows do not"]


def test_an_expectation_on_shares_waits_for_enough_rows(tmp_path):
    write(tmp_path, between("level", 5, 6, from_rows=3))
    assert check(tmp_path, rows()).passed
    assert not check(tmp_path, rows(("a", "b", "c"), (1.0, 2.0, 3.0))).passed


FAULTY = {
    "a column that the table lacks": ({"expectations": [between("depth", 0)]}, r"depth.*raw/river_gauges has"),
    "a computed column of none": ({"computed": {"x": "depth * 2"}}, r"'x' names \['depth'\]"),
    "a computed column that is no SQL": ({"computed": {"x": "level *"}}, "not SQL"),
    "a computed column in place of one": ({"computed": {"level": "level * 2"}}, "has the name of a column"),
    "a list": ([between("level", 0)], "must be an object"),
    "an unknown field": ({"rules": []}, "must be an object"),
    "an expectation without arguments": ({"expectations": [{"type": "expect_column_to_exist"}]}, "expectation 1"),
}


@pytest.mark.parametrize("case", FAULTY)
def test_a_faulty_suite_file_is_named_with_its_fault(tmp_path, case):
    written, said = FAULTY[case]
    (tmp_path / "raw_river_gauges.json").write_text(json.dumps(written))
    with pytest.raises(ValueError, match=rf"raw_river_gauges\.json.*{said}"):
        suite_of_source(GAUGES, tmp_path)


@pytest.fixture
def manifest(tmp_path):
    def model(name, columns, **meta):
        declared = {c: {"name": c, "data_type": t} for c, t in columns.items()}
        return {"resource_type": "model", "name": name, "alias": name, "columns": declared, "config": {"meta": meta}}

    times = dict.fromkeys(("event_timestamp", "created_timestamp"), "timestamp with time zone")
    view = {"gauge": "varchar", "level": "double", **times, "partition_key": "varchar"}
    nodes = {
        "model.p.levels": model("levels", view, feature_view={"entities": {"gauge": "gauge"}}),
        "model.p.floods": model("floods", {"id": "varchar", **times}, outcome={"row_id": "id"}),
        "model.p.stg": model("stg", {"gauge": "varchar"}),
    }
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"nodes": nodes}))
    return path


def test_a_feature_view_has_the_contract_of_its_yaml(manifest, tmp_path):
    suite = suite_of_feature_table(manifest, "levels", tmp_path)
    assert check_expectations(suite, rows(), "2020-02").passed
    assert check_expectations(suite, rows().clear(), "2020-02").passed
    assert "level is missing" in check_expectations(suite, rows().drop("level"), "2020-02").summary
    assert "not be null" in check_expectations(suite, rows(("a", None)), "2020-02").summary


def test_a_correction_is_another_row_of_a_view_but_an_outcome_is_one_row(manifest, tmp_path):
    twice = pl.concat([rows(("a",), (1.0,)), rows(("a",), (2.0,), created=datetime(2020, 2, 11, tzinfo=UTC))])
    levels = suite_of_feature_table(manifest, "levels", tmp_path)
    floods = suite_of_feature_table(manifest, "floods", tmp_path)
    assert check_expectations(levels, twice, "2020-02").passed
    outcomes = twice.select("event_timestamp", "created_timestamp", id="gauge")
    assert "id: values to be unique" in check_expectations(floods, outcomes, "2020-02").summary


def test_a_table_that_dbt_does_not_declare_has_no_suite(manifest):
    with pytest.raises(LookupError, match=r"no feature table 'stg'.*floods.*levels"):
        suite_of_feature_table(manifest, "stg")


def test_a_suite_file_of_no_table_is_named(manifest, tmp_path):
    write(tmp_path, name="features_levels")
    write(tmp_path)
    (tmp_path / "manifest.json").rename(manifest.with_suffix(".dbt"))
    manifest = manifest.with_suffix(".dbt")
    refuse_strangers([GAUGES], manifest, tmp_path)
    write(tmp_path, name="features_leevls")
    with pytest.raises(ValueError, match=r"features_leevls\.json.*rename"):
        refuse_strangers([GAUGES], manifest, tmp_path)


COLUMNS = {
    "all within": [1.0, 2.0, 3.0],
    "on the bounds": [0.0, 4.0],
    "below": [-0.1, 1.0],
    "above": [4.1, 1.0],
    "with a null": [1.0, None],
    "with a NaN": [1.0, math.nan],
    "NaN and below": [-1.0, math.nan],
    "infinite": [1.0, math.inf],
    "nothing known": [None, None],
}
ASKED = [
    between("level", 0, 4),
    between("level", low=0),
    between("level", high=4),
    {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "level"}},
]


@pytest.mark.parametrize("values", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("number", range(len(ASKED)))
def test_what_statistics_settle_great_expectations_would_pass(values, number):
    frame = pl.DataFrame({"level": values}, schema={"level": pl.Float64})
    asked = ASKED[number]
    # Said in another way, which no statistic settles.
    unsettled = {**asked, "kwargs": {**asked["kwargs"], "row_condition": None}}
    assert Statistics(frame).settle([unsettled]) == {}
    (answer,) = run(frame, [unsettled])
    assert bool(Statistics(frame).settle([asked])) == answer.passed


NUMBERED = {
    "expect_column_mean_to_be_between": [1.0, 4.0, 4.0, None],
    "expect_column_stdev_to_be_between": [1.0, 4.0, math.nan, 2.5],
    "expect_column_unique_value_count_to_be_between": ["a", "b", "b", None],
}


@pytest.mark.parametrize(("kind", "values"), NUMBERED.items(), ids=NUMBERED)
def test_a_number_that_settles_an_expectation_is_the_one_that_great_expectations_finds(kind, values):
    frame = pl.DataFrame({"level": values}, strict=False)
    asked = {"type": kind, "kwargs": {"column": "level", "min_value": 1, "max_value": 3.5}}
    (answer,) = run(frame, [{**asked, "kwargs": {**asked["kwargs"], "row_condition": None}}])
    (number, _) = Statistics(frame).settle([asked])[0]
    assert answer.passed
    assert number == pytest.approx(answer.observed, rel=1e-12)
    out_of_bounds = {"type": kind, "kwargs": {"column": "level", "min_value": number + 1e-3, "max_value": 9}}
    assert Statistics(frame).settle([out_of_bounds]) == {}


@pytest.mark.parametrize(("share", "settled"), [(0.7, True), (0.75, False), (0.8, False)])
def test_a_share_of_nulls_is_settled_where_it_is_plain_and_its_rows_are_counted(share, settled):
    frame = pl.DataFrame({"level": [1.0, None, 2.0, 3.0]})
    asked = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "level", "mostly": share}}
    assert Statistics(frame).settle([asked]) == ({0: (None, 1)} if settled else {})
    (answer,) = run(frame, [asked])
    assert answer.passed == (share <= 0.75)
    assert answer.unexpected == 1
