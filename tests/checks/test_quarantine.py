from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from checks.guard import GateClosed
from checks.quarantine import HELD, batches
from ml.clock import ReplayClock
from ml.overrides import Override
from ml.quarantine import MOST_ROWS, RULE, Quarantine
from ml.recipe import Recipe
from tests.checks.test_guard import Gate, month


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


def states(gate):
    return {(b.name, b.version): b.state for b in batches(gate.lake, gate.guard)}


def fail(gate, name="2013-01", table="raw/flights"):
    version = gate.land(name, table)
    gate.judge_all(version, name, True, table)
    gate.judge(version, name, False, table)
    return version


def test_a_failed_batch_is_held_with_its_reason_until_a_later_version_passes(gate):
    bad = fail(gate)
    (held,) = batches(gate.lake, gate.guard)
    assert (held.name, held.version, held.state) == ("raw/flights[2013-01]", bad, HELD)
    assert "3 of 29 expectations fail" in held.reason
    assert held.verdicts[0].run_id == "run-7"
    good = gate.land("2013-01")
    gate.judge_all(good, "2013-01", True)
    assert states(gate) == {("raw/flights[2013-01]", bad): f"released by version {good}"}


def test_a_failed_batch_that_another_failed_one_replaced_is_not_counted_twice(gate):
    first, second = fail(gate), fail(gate)
    assert states(gate)[("raw/flights[2013-01]", second)] == HELD
    assert states(gate)[("raw/flights[2013-01]", first)] == f"replaced by version {second}, which has not passed"


def test_a_rewritten_batch_without_a_verdict_releases_nothing(gate):
    bad = fail(gate)
    rewritten = gate.land("2013-01")
    assert states(gate)[("raw/flights[2013-01]", bad)] == f"replaced by version {rewritten}, which has not passed"
    with pytest.raises(GateClosed, match="has no verdict"):
        gate.guard.admit("features", "raw/flights", ["2013-01"])


def test_passing_the_same_check_again_releases(gate):
    bad = fail(gate)
    gate.judge(bad, "2013-01", True)
    assert batches(gate.lake, gate.guard) == []


def test_an_override_opens_the_gate_of_exactly_one_version_until_it_ends(gate):
    bad, now = fail(gate), datetime(2013, 3, 1, tzinfo=UTC)
    override = Override("raw/flights", bad, "expectations", "ada", "known outage", now + timedelta(hours=1), "2013-01")
    gate.overrides.grant([override])
    assert gate.guard.admit("features", "raw/flights", ["2013-01"]) == {"2013-01": bad}
    assert states(gate)[("raw/flights[2013-01]", bad)] == f"overridden: {override}"
    assert not gate.guard.passed("raw/flights")(bad, "2013-01"), "an override is never a pass"
    fail(gate)
    with pytest.raises(GateClosed):
        gate.guard.admit("features", "raw/flights", ["2013-01"])


def test_features_are_refused_when_the_raw_month_they_were_built_on_fails_later(gate):
    raw = {name: gate.land(name) for name in ("2013-01", "2013-02", "2013-03")}
    for name, version in raw.items():
        gate.judge_all(version, name, True)
    table, recipe = "features/state", Recipe({"raw/flights": max(raw.values())}, "db", (), {}, (), "select 1", 1)
    months = ["2013-02", "2013-03"]
    staged = gate.lake.replace(table, pl.concat(map(month, months)), months, recipe.to_metadata())
    for name in months:
        gate.judge_all(staged, name, True, table)
    assert gate.guard.admit("published/state", table, months) == dict.fromkeys(months, staged)
    gate.judge(raw["2013-01"], "2013-01", False)  # in February's look-back, not in March's
    with pytest.raises(GateClosed, match=r"raw/flights\[2013-01\] version 0: check 'expectations' failed"):
        gate.guard.admit("published/state", table, ["2013-02"])
    assert gate.guard.admit("published/state", table, ["2013-03"]) == {"2013-03": staged}


def test_failing_rows_are_kept_with_what_they_broke(gate, tmp_path):
    clock = ReplayClock(tmp_path / "clock.json")
    quarantine = Quarantine(gate.lake, clock)
    failing = pl.DataFrame({RULE: ["delay is in range"] * 2, "flight": [7, 8], "delay": [99_999, None]})
    quarantine.keep("raw/flights", 3, "2013-01", "expectations", failing, "run-1")
    quarantine.keep("raw/flights", 3, "2013-01", "history", failing.head(1), "run-1")
    quarantine.keep("raw/flights", 3, "2013-01", "history", failing.tail(1), "run-2")
    rows = quarantine.rows("raw/flights", 3, "2013-01")
    assert rows.rows() == [
        ("expectations", "delay is in range", 7, 99_999),
        ("expectations", "delay is in range", 8, None),
        ("history", "delay is in range", 8, None),
    ]
    assert quarantine.rows("raw/flights", 4, "2013-01").is_empty()


def test_not_more_failing_rows_are_kept_than_a_person_reads(gate, tmp_path):
    quarantine = Quarantine(gate.lake, ReplayClock(tmp_path / "clock.json"))
    many = pl.DataFrame({RULE: "x", "n": range(MOST_ROWS + 5)})
    quarantine.keep("raw/flights", 0, "2013-01", "history", many, "run-1")
    assert quarantine.rows("raw/flights", 0, "2013-01").height == MOST_ROWS
