"""`make quarantine` on a table or a month that there is not: it says so, and what there is."""

import polars as pl
import pytest

from assets.quarantine import main
from assets.resources import Platform
from ml.settings import Settings


@pytest.fixture
def asked(tmp_path, monkeypatch, capsys):
    """What the command prints and returns, in a home with a monthly table and one that lands whole."""
    monkeypatch.setenv("HEADWATER_HOME", str(tmp_path))
    lake = Platform(Settings(home=tmp_path)).lake
    for month in ("2013-01", "2013-02"):
        lake.replace("raw/gauges", pl.DataFrame({"level": [1], "partition_key": [month]}), [month])
    lake.replace("raw/stations", pl.DataFrame({"station": ["Upper"]}))

    def ask(*words):
        monkeypatch.setattr("sys.argv", ["quarantine", *words])
        return main(), "".join(capsys.readouterr())

    return ask


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["raw/gauges", "--partition", "2031-01"], "raw/gauges has no month 2031-01; it has 2013-01, 2013-02"),
        (["raw/stations", "--partition", "2013-01"], "raw/stations lands whole, in one partition; leave MONTH out"),
        (["raw/nope"], "there are raw/gauges, raw/stations"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(asked, words, told):
    status, printed = asked(*words)
    assert status == 1
    assert told in printed


def test_a_month_without_failures_is_told_as_such(asked):
    assert asked("raw/gauges", "--partition", "2013-01") == (0, "Nothing is in quarantine.\n")
