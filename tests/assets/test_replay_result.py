"""What a replayed year is summed up to: the ways to keep a model on the same rows, and the page that shows it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from assets.replay_page import counts, write_page
from assets.replay_result import compare_year
from assets.replay_rivals import LOOP, MONTHLY, NEVER, Rival
from assets.replay_steps import Retrained, shares
from ml.loop_log import _SCHEMA as EVENTS
from tests.ml.synthetic import SPEC

ROWS = 6000
START = datetime(2013, 4, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def year():
    """Rows of sixty days, and three ways: one that drifts away, and two that know."""
    random = np.random.default_rng(5)
    signal = random.normal(-1, 1.2, ROWS)
    asked = [START + timedelta(minutes=14 * n) for n in range(ROWS)]
    label = (random.random(ROWS) < 1 / (1 + np.exp(-signal))).astype(int)
    served = pl.DataFrame({SPEC.outcome.prediction_time: asked, SPEC.outcome.label: label})
    late = np.linspace(0, 1.5, ROWS)
    ways = {NEVER: signal - late, MONTHLY: signal + random.normal(0, 0.05, ROWS), LOOP: signal}
    rivals = [Rival(name, 1 / (1 + np.exp(-raw)), (40.0,) * (name == MONTHLY)) for name, raw in ways.items()]
    return served, rivals


def test_the_loop_is_compared_with_each_way_on_the_same_rows_with_intervals(year):
    result = compare_year(SPEC, *year)
    never, monthly, loop = (result.of(name) for name in (NEVER, MONTHLY, LOOP))
    assert never.loss_gap.high < 0  # the loop's loss is lower, beyond noise
    assert abs(monthly.loss_gap.difference) < 0.002 < -never.loss_gap.difference
    assert loop.loss_gap is None
    assert result.rows == ROWS
    assert result.weeks["rows"].sum() == ROWS
    assert result.weeks[NEVER][-1] > result.weeks[LOOP][-1]


def test_the_page_shows_what_each_way_was_worth_and_what_was_done(year, tmp_path):
    told = [("retrain", ""), ("refused", "2"), ("retrain", ""), ("champion", "3")]
    rows = [
        {"event": event, "version": version, "reason": "novelty: <temp>", "actor": "loop", "at": START, "model": "m"}
        for event, version in told
    ]
    events = pl.DataFrame(rows, schema=EVENTS)
    runs = [Retrained("novelty", (("join", 10.0), ("training", 30.0)), 41.0)]
    write_page(tmp_path / "replay.html", SPEC, compare_year(SPEC, *year), events, runs)
    page = (tmp_path / "replay.html").read_text()
    assert "data:image/png;base64" in page
    assert "novelty: &lt;temp&gt;" in page
    assert counts(events) == "2 retrainings, 1 refused, 1 promoted, 0 taken back"
    assert shares(runs) == [("join", 10.0, "25%"), ("training", 30.0, "75%")]
