"""`make drill-leak` on a home in which the demo ran, and what all drills stand on."""

import re
import sys
from datetime import timedelta

import polars as pl
import pytest

from assets.drill import PromiseBroken, fingerprint, promise, scratch, untouched
from assets.resources import Platform
from ml.housekeeping import Housekeeping
from ml.settings import Settings

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture
def small(tmp_path):
    """A home with one table and one file."""
    platform = Platform(Settings(home=tmp_path / "home"))
    platform.lake.replace("raw/x", pl.DataFrame({"x": [1], "partition_key": ["2013-01"]}), ["2013-01"])
    (tmp_path / "home" / "online.db").write_text("as it was")
    return platform


def test_what_is_done_in_a_scratch_home_does_not_reach_the_home(small):
    before = fingerprint(small)
    with scratch(small) as copy:
        assert copy.lake.read("raw/x").collect()["x"].to_list() == [1]
        for x in (2, 3):
            copy.lake.replace("raw/x", pl.DataFrame({"x": [x], "partition_key": ["2013-01"]}), ["2013-01"])
        Housekeeping(copy.lake).vacuum("raw/x", [], timedelta(0), dry_run=False)
        (copy.settings.root / "online.db").write_text("spoiled")
        assert copy.settings.online_store == str(copy.settings.root / "online.db")
    assert fingerprint(small) == before
    assert small.lake.read("raw/x").collect()["x"].to_list() == [1]
    assert list((small.settings.root / "drills").iterdir()) == []


def test_a_fingerprint_shows_a_changed_table_and_changed_online_rows(small):
    before = fingerprint(small)
    (small.settings.root / "online.db").write_text("changed")
    assert fingerprint(small) != before
    before = fingerprint(small)
    small.lake.append("audit/y", pl.DataFrame({"y": [1]}))
    assert fingerprint(small) != before


def test_what_changed_in_the_home_is_named(small, capsys):
    with untouched(small):
        pass
    assert "the home itself is untouched: " in capsys.readouterr().out
    with pytest.raises(PromiseBroken, match=r"untouched: .*changed: .*online\.db"), untouched(small):
        (small.settings.root / "online.db").write_text("changed")


def test_a_drill_needs_a_home_in_which_the_demo_ran(tmp_path):
    with pytest.raises(LookupError, match="run make demo first"), scratch(Platform(Settings(home=tmp_path))):
        pass


def test_a_drill_works_on_no_lake_that_it_cannot_copy(tmp_path):
    platform = Platform(Settings(home=tmp_path, lake="s3://lake/headwater"))
    with (
        pytest.raises(NotImplementedError, match="unset HEADWATER_LAKE, which is s3://lake/headwater"),
        scratch(platform),
    ):
        pass


def test_a_broken_promise_ends_the_drill(capsys):
    promise(True, "the sun rises")
    assert "the sun rises" in capsys.readouterr().out
    with pytest.raises(PromiseBroken, match="not so: it rains"):
        promise(False, "it rains")


def test_the_drill_shows_the_leak_refused_and_the_repair_admitted(line):
    before = fingerprint(line.platform)
    done = line.command(sys.executable, "-m", "assets.drill_leak")
    assert done.returncode == 0, done.stdout + done.stderr
    story = [
        "dbt build refuses",
        r"dbt_tests +failed",
        r"overridden +\d+ verdicts on aircraft_state",
        r"leakage +FAILED: aircraft_state:last_arrived_at of row",
        "it can be had from 2013-.* when this became known: raw/flights year=2013",
        "the as-of audit refuses the training set",
        "flight_delay/model refuses to read",
        r"leakage +passed: 1,",
        "training is admitted again",
        "is untouched",
    ]
    assert re.search(".*".join(story), done.stdout, re.DOTALL), done.stdout
    high, low = map(float, re.search(r"ROC AUC +(\S+) with the leak, (\S+) without", done.stdout).groups())
    assert high > 0.95
    assert 0.7 < low < 0.8
    assert fingerprint(line.platform) == before
