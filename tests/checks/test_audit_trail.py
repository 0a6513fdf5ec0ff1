from datetime import UTC, datetime, timedelta

import pytest

from checks.audit_trail import audit_step
from ml.overrides import Override
from tests.checks.test_guard import Gate

TABLE = "raw/flights"


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


def test_checks_that_passed_are_told_with_run_and_instant(gate):
    gate.judge_all(gate.land("2013-01"), "2013-01", passed=True)
    step = audit_step(gate.guard, [(TABLE, "2013-01", 0)])
    assert step.facts["expectations"] == step.facts["history"] == "passed"
    assert step.facts["judged"] == "2013-03-01 00:00 UTC, run run-7"
    assert step.gone == ()


def test_a_check_that_never_ended_and_one_that_failed_are_said(gate):
    gate.judge(gate.land("2013-01"), "2013-01", passed=False)
    step = audit_step(gate.guard, [(TABLE, "2013-01", 0)])
    assert step.facts["history"] == "no verdict"
    assert step.gone == (
        "check 'expectations' of raw/flights[2013-01] version 0 failed: 3 of 29 expectations fail; nobody let it pass",
        "check 'history' of raw/flights[2013-01] version 0 has no verdict",
    )


def test_an_override_is_told_even_when_it_has_ended(gate):
    gate.judge(gate.land("2013-01"), "2013-01", passed=False)
    until = datetime(2013, 3, 1, tzinfo=UTC) + timedelta(days=2)
    gate.overrides.grant([Override(TABLE, 0, "expectations", "ann", "the source is right", until, "2013-01")])
    gate.overrides.end(TABLE, 0, "2013-01")
    (line, _) = audit_step(gate.guard, [(TABLE, "2013-01", 0)]).gone
    assert "let pass: expectations overridden by ann" in line
    assert "the source is right" in line


def test_months_are_counted_apart(gate):
    for name, passed in (("2013-01", True), ("2013-02", False)):
        gate.judge_all(gate.land(name), name, passed)
    step = audit_step(gate.guard, [(TABLE, "2013-01", 0), (TABLE, "2013-02", 1)])
    assert step.facts["expectations"] == "1 passed, 1 failed"
    assert len(step.rows) == 4
