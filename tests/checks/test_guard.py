from datetime import UTC, datetime

import polars as pl
import pytest

from checks.guard import GateClosed, Guard
from checks.required import required_checks
from ml.clock import ReplayClock
from ml.lake import WHOLE, Lake
from ml.overrides import Overrides
from ml.publication import Publications
from ml.verdicts import Verdict, Verdicts


def month(name, value=1):
    return pl.DataFrame({"value": [value], "partition_key": [name]})


class Gate:
    """A lake with one raw table of two months, and the guard in front of it."""

    def __init__(self, folder):
        clock = ReplayClock(folder / "clock.json")
        clock.set(datetime(2013, 3, 1, tzinfo=UTC))
        self.lake = Lake(folder / "lake")
        self.verdicts = Verdicts(self.lake, clock)
        self.publications = Publications(self.lake, clock)
        self.overrides = Overrides(self.lake, clock, allowed=True)
        self.guard = Guard(self.lake, self.verdicts, self.publications, self.overrides)

    def land(self, name, table="raw/flights"):
        return self.lake.replace(table, month(name), [name])

    def judge_all(self, version, partition, passed, table="raw/flights"):
        for check in required_checks(table):
            self.judge(version, partition, passed, table, check)

    def judge(self, version, partition, passed, table="raw/flights", check="expectations"):
        evidence = {"summary": "3 of 29 expectations fail"}
        self.verdicts.record([Verdict(table, version, check, passed, partition, evidence=evidence, run_id="run-7")])


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


def test_a_version_whose_checks_passed_is_admitted_and_pinned(gate):
    for name in ("2013-01", "2013-02"):
        gate.judge_all(gate.land(name), name, passed=True)
    assert gate.guard.admit("features", "raw/flights", ["2013-01", "2013-02"]) == {"2013-01": 0, "2013-02": 1}


def test_no_verdict_is_a_refusal(gate):
    gate.land("2013-01")
    with pytest.raises(GateClosed, match=r"raw/flights\[2013-01\] version 0: check 'expectations' has no verdict"):
        gate.guard.admit("features", "raw/flights", ["2013-01"])


def test_a_refusal_names_reader_table_month_version_check_run_evidence_and_remedy(gate):
    gate.judge(gate.land("2013-01"), "2013-01", passed=False)
    with pytest.raises(GateClosed) as refusal:
        gate.guard.admit("features", "raw/flights", ["2013-01"])
    for part in (
        "features",
        "raw/flights[2013-01]",
        "version 0",
        "expectations",
        "run-7",
        "3 of 29",
        "materialize",
    ):
        assert part in str(refusal.value)


def test_one_bad_month_in_the_look_back_closes_the_gate(gate):
    gate.judge(gate.land("2013-01"), "2013-01", passed=False)
    gate.judge(gate.land("2013-02"), "2013-02", passed=True)
    with pytest.raises(GateClosed, match="2013-01"):
        gate.guard.admit("features", "raw/flights", ["2013-01", "2013-02"])


def test_rewriting_a_month_makes_its_old_verdict_worthless(gate):
    gate.judge(gate.land("2013-01"), "2013-01", passed=True)
    gate.land("2013-01")
    with pytest.raises(GateClosed, match="version 1: check 'expectations' has no verdict"):
        gate.guard.admit("features", "raw/flights", ["2013-01"])


def test_the_newest_verdict_counts_also_at_one_replayed_instant(gate):
    version = gate.land("2013-01")
    gate.judge_all(version, "2013-01", passed=False)
    gate.judge_all(version, "2013-01", passed=True)
    assert gate.guard.admit("features", "raw/flights", ["2013-01"]) == {"2013-01": 0}
    gate.judge(version, "2013-01", passed=False)
    with pytest.raises(GateClosed):
        gate.guard.admit("features", "raw/flights", ["2013-01"])


def test_a_month_that_was_never_materialized_is_named(gate):
    with pytest.raises(GateClosed, match=r"raw/flights\[2013-05\]: not materialized"):
        gate.guard.admit("features", "raw/flights", ["2013-05"])


def test_published_rows_are_asked_for_again_where_they_came_from(gate):
    table = "features/aircraft_state"
    version = gate.land("2013-01", table)
    gate.judge_all(version, "2013-01", True, table)
    gate.publications.publish("aircraft_state", {"2013-01": version}, actor="test")
    assert gate.guard.admit_published("training", "aircraft_state") == 0
    gate.judge(version, "2013-01", False, table, "dbt_tests")
    with pytest.raises(GateClosed, match="dbt_tests"):
        gate.guard.admit_published("training", "aircraft_state")


def test_every_gated_stage_requires_at_least_one_check_and_others_are_refused():
    for table in (
        "raw/flights",
        "features/x",
        "flight_delay/training_set",
        "flight_delay/model",
        "flight_delay/predictions",
    ):
        assert required_checks(table)
    with pytest.raises(LookupError, match="no blocking checks"):
        required_checks("somewhere/else")


def test_unpartitioned_tables_have_verdicts_too(gate):
    gate.lake.replace("raw/planes", pl.DataFrame({"tailnum": ["N1"]}))
    gate.judge_all(0, WHOLE, True, "raw/planes")
    assert gate.guard.admit("features", "raw/planes") == {WHOLE: 0}
