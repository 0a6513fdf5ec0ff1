import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from checks.drift import check_drift
from checks.drift_bounds import Bounds
from checks.drift_evidence import Reference
from checks.drift_windows import Profiles
from tests.checks.drift_world import BOUNDS, judge, rows, window


def test_two_windows_of_the_same_world_have_not_drifted_and_get_no_page(tmp_path):
    outcome = judge(tmp_path, rows(), rows(seed=2))
    assert outcome.passed
    assert "0 of 4 columns drifted" in outcome.summary
    assert (outcome.report, outcome.plot) == (None, None)
    assert not (tmp_path / "page.html").exists()
    assert {row["verdict"] for row in outcome.table} == {"holds"}


def test_a_breach_writes_a_page_that_names_the_cause_and_holds_evidentlys_report(tmp_path):
    outcome = judge(tmp_path, rows(), rows(shift=1, seed=2))
    page = outcome.report.read_text()
    assert not outcome.passed
    assert "delay" in outcome.table[0]["column"]
    assert outcome.short == "now: 1 of 4 columns drifted: delay"
    assert outcome.table[0]["cause"] in f"trailing: {outcome.evidence['references']['trailing']['causes']['delay']}"
    for words in ("whole distribution shifted by +", "(bound 0.3)", "evidently-ui-iframe"):
        assert words in page
    assert outcome.plot.startswith(b"\x89PNG")
    assert len(outcome.plot) < 100_000


def test_the_page_is_written_on_demand_although_nothing_drifted(tmp_path):
    outcome = judge(tmp_path, rows(), rows(seed=2), always=True)
    assert outcome.passed
    assert "No column broke a bound" in outcome.report.read_text()


def test_a_shift_is_measured_in_standard_deviations_of_the_reference(tmp_path):
    found = judge(tmp_path, rows(), rows(shift=1, seed=2)).evidence["references"]["trailing"]["distances"]
    assert found["delay"] == pytest.approx(1, abs=0.1)
    assert found["empty"] == 0


def test_enough_columns_must_drift_where_a_share_is_asked(tmp_path):
    moved = rows(shift=1, seed=2)
    assert judge(tmp_path, rows(), moved, Bounds(0.3, share=0.5)).passed
    assert not judge(tmp_path, rows(), moved, Bounds(0.3, share=0.25)).passed


def test_a_column_gone_empty_is_drift_although_no_distance_can_be_measured(tmp_path):
    gone = rows(seed=2).with_columns(distance=pl.lit(None, pl.Float64))
    outcome = judge(tmp_path, rows(), gone)
    assert not outcome.passed
    assert outcome.evidence["references"]["trailing"]["distances"]["distance"] == np.inf
    assert "no row has a value any more" in outcome.summary
    assert json.dumps(outcome.evidence)


@pytest.mark.parametrize(("old", "new", "named"), [(1, 0, "current"), (0, 1, "trailing")])
def test_a_window_without_rows_is_not_a_pass_and_says_which_it_is(tmp_path, old, new, named):
    outcome = judge(tmp_path, rows(count=old), rows(count=new))
    assert not outcome.passed
    assert f"the {named} window has no rows" in outcome.summary
    assert not judge(tmp_path, window(), rows()).passed


def test_both_references_are_judged_and_each_says_what_it_holds_against(tmp_path):
    known = {"trailing": window(rows(), name="months"), "champion": window(rows(shift=1), name="champion 3")}
    references = [Reference(kind, side, ["delay", "carrier"], BOUNDS) for kind, side in known.items()]
    outcome = check_drift(
        window(rows(shift=1, seed=2), name="now"), references, Profiles(tmp_path), tmp_path / "page.html"
    )
    found = outcome.evidence["references"]
    assert not outcome.passed
    assert (found["trailing"]["drifted"], found["champion"]["drifted"]) == (True, False)
    assert "champion holds (distance 0.0" in outcome.table[0]["cause"]
    assert {"trailing: months", "champion: champion 3"} < set(outcome.table[0])


def test_a_move_that_the_year_before_made_too_is_called_seasonal(tmp_path):
    season = window(rows(shift=1, seed=3), name="a year before")
    outcome = judge(tmp_path, rows(), rows(shift=1, seed=2), season=season)
    assert "; seasonal: 0.0" in outcome.table[0]["cause"]
    assert "from a year before" in outcome.table[0]["cause"]


def test_a_sudden_move_is_told_from_one_that_grew_over_months(tmp_path):
    calm, growing = ([rows(shift=s, seed=n) for n, s in enumerate(shifts)] for shifts in ((0, 0, 0), (0, 0.6, 1.2)))
    sudden = judge(tmp_path, window(*calm, in_order=True), rows(shift=1.8, seed=9))
    grown = judge(tmp_path, window(*growing, in_order=True), rows(shift=1.9, seed=9))
    assert "sudden: 1." in sudden.table[0]["cause"]
    assert "growing: 0." in grown.table[0]["cause"]


def test_the_data_version_is_that_of_the_rows_whatever_their_order(tmp_path):
    new = rows(shift=1, seed=2)
    first, again, other = (
        judge(tmp_path / str(n), rows(), frame).evidence["content"]
        for n, frame in enumerate((new, new.reverse(), rows(shift=1, seed=3)))
    )
    assert first == again
    assert first != other


def test_small_windows_of_one_world_are_not_called_drift(tmp_path):
    drifted = [n for n in range(20) if not judge(tmp_path, rows(seed=1), rows(count=40, seed=100 + n)).passed]
    assert len(drifted) <= 1


def test_the_first_stage_imports_neither_evidently_nor_pandas_nor_scipy(tmp_path):
    program = (
        "import sys; from pathlib import Path; from tests.checks.drift_world import judge, rows\n"
        "assert judge(Path(sys.argv[1]), rows(), rows(seed=2)).passed\n"
        "slow = {'evidently', 'scipy', 'pandas', 'matplotlib', 'mlflow', 'dagster'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
