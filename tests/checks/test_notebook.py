import warnings

import pytest

from checks.notebook import NotebookLake, UncheckedDataWarning
from tests.checks.test_guard import Gate


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


def read(gate, table, **how):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = NotebookLake(gate.guard).read(table, **how).collect()
    return rows, [str(w.message) for w in caught if w.category is UncheckedDataWarning]


def test_a_notebook_may_read_what_failed_and_is_told_so(gate):
    gate.judge_all(gate.land("2013-01"), "2013-01", True)
    bad = gate.land("2013-02")
    gate.judge_all(bad, "2013-02", True)
    gate.judge(bad, "2013-02", False)
    assert read(gate, "raw/flights", partitions=["2013-01"])[1] == []
    rows, (warning,) = read(gate, "raw/flights")
    assert rows.height == 2
    assert "raw/flights[2013-02] expectations failed in run run-7 (3 of 29 expectations fail)" in warning
    assert read(gate, "raw/flights", version=0)[1] == [], "time travel asks for the versions that it reads"


def test_published_rows_are_traced_to_the_batches_they_came_from(gate):
    table = "features/state"
    version = gate.land("2013-01", table)
    gate.judge_all(version, "2013-01", True, table)
    gate.publications.publish("state", {"2013-01": version}, actor="test")
    assert read(gate, "published/state")[1] == []
    gate.judge(version, "2013-01", False, table, "dbt_tests")
    assert "features/state[2013-01] dbt_tests failed" in read(gate, "published/state")[1][0]


def test_tables_without_gates_are_read_without_a_word(gate):
    gate.judge(gate.land("2013-01"), "2013-01", True)
    assert read(gate, "audit/verdicts")[1] == []
