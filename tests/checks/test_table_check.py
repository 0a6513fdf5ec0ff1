"""Checks found by their files: one of another name, or on a table that nobody builds, is refused."""

import dataclasses
from types import ModuleType

import pytest

from checks import tables
from checks.outcome import Outcome
from checks.table_check import TableCheck


def module(**names):
    made = ModuleType("made")
    made.__dict__.update(names)
    return made


def test_a_check_of_another_name_or_on_another_stage_is_refused_by_file():
    good = TableCheck("ghosts", "Ghosts do not fly.", ("raw/flights",), lambda rows, partition: Outcome(True, "none"))
    assert tables._check_of(module(CHECK=good), "ghosts") is good
    with pytest.raises(ValueError, match=r"other.py must hold one TableCheck with name='other'; it holds 0"):
        tables._check_of(module(CHECK=good), "other")
    elsewhere = dataclasses.replace(good, tables=("published/aircraft",))
    with pytest.raises(ValueError, match=r"must name raw/<source> or features/<view>, not \['published/aircraft'\]"):
        tables._check_of(module(CHECK=elsewhere), "ghosts")
    taken = dataclasses.replace(good, name="history")
    with pytest.raises(ValueError, match="every table has a check 'history'"):
        tables._check_of(module(CHECK=taken), "history")


def test_a_check_on_a_table_that_does_not_exist_is_refused(monkeypatch):
    lost = TableCheck("ghosts", "Ghosts do not sail.", ("raw/ships",), lambda rows, partition: Outcome(True, "none"))
    monkeypatch.setattr(tables, "CHECKS", (lost,))
    with pytest.raises(ValueError, match=r"checks/tables/ghosts.py judges \['raw/ships'\], which do not exist"):
        tables.refuse_unknown_tables(["raw/flights"])
