"""The library of faults: each one is what it says it is, and nothing else."""

from collections import Counter
from functools import cache

import pytest

from assets.resources import DBT_PROJECT
from benchmarks.faults import FAULTS, Fault, fault_named, spoiled
from benchmarks.faults.fault import arrival
from benchmarks.faults.features import FAULTS as SQL_FAULTS
from benchmarks.faults.features import changed_project
from ml.sources import SOURCES, source_named

MONTH = "2013-03"


@cache
def without_fault(name):
    source = source_named(name)
    return arrival(source, of_month(source), Fault("none", name, "nothing is wrong"), seed=1)


def of_month(source):
    return "" if source.partition is None else MONTH


def test_every_fault_has_a_name_of_its_own_and_a_source_that_is_declared():
    repeated = [name for name, count in Counter(fault.name for fault in (*FAULTS, *SQL_FAULTS)).items() if count > 1]
    assert not repeated
    assert {fault.source for fault in FAULTS} == {source.name for source in SOURCES}
    assert not [fault.name for fault in FAULTS if fault.spoil is None and fault.damage is None]
    with pytest.raises(LookupError, match=r"no fault 'tomorrow'.*dropped_column"):
        fault_named("tomorrow")


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_file_without_a_fault_holds_the_rows_of_its_month(source, tmp_path):
    arrived = spoiled(source, of_month(source), Fault("none", source.name, "nothing is wrong"), tmp_path, seed=0).read()
    rows = source.read()
    assert arrived.equals(rows if source.partition is None else rows.filter(source.partition == MONTH))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_changes_what_arrives_and_the_same_seed_gives_the_same_bytes(fault):
    source = source_named(fault.source)
    first, again = (arrival(source, of_month(source), fault, seed=1) for _ in range(2))
    assert first == again != without_fault(fault.source)


@pytest.mark.parametrize("fault", SQL_FAULTS, ids=lambda fault: fault.name)
def test_a_mistake_in_sql_replaces_a_passage_that_is_there(fault, tmp_path):
    copy = changed_project(DBT_PROJECT, fault, tmp_path) / "models" / "features" / f"{fault.table}.sql"
    original = DBT_PROJECT / "models" / "features" / f"{fault.table}.sql"
    assert copy.read_text() != original.read_text()
