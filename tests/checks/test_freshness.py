from dataclasses import replace
from datetime import timedelta

import pytest

from checks.freshness import check_freshness
from ml.online_push import push
from ml.online_rows import open_online_rows
from tests.ml.small_store import GAUGES, hour


def test_freshness_is_the_age_of_the_newest_event_against_the_ttl(online_address):
    store = open_online_rows(online_address)
    row = {"level": 1.0, "readings": 1, "river": "Inn", "alarm": False}
    events = [
        {"gauge_id": name, "event_timestamp": hour(at), "created_timestamp": hour(at), **row}
        for name, at in (("a", 3), ("b", 1))
    ]
    push(GAUGES, events, store, hour(4))
    outcome = check_freshness(GAUGES, store.summary("gauge_state"), hour(9))
    assert outcome.passed
    assert outcome.evidence == {
        "newest_event": "2013-07-01T03:00:00+00:00",
        "age_seconds": 6 * 3600.0,
        "ttl_seconds": 6 * 3600.0,
        "rows": 2,
    }
    assert not check_freshness(GAUGES, store.summary("gauge_state"), hour(9) + timedelta(seconds=1)).passed


@pytest.mark.parametrize("view", [GAUGES, replace(GAUGES, name="other")])
def test_a_view_without_online_rows_is_not_fresh(online_address, view):
    outcome = check_freshness(view, open_online_rows(online_address).summary(view.name), hour(0))
    assert not outcome.passed
    assert "has no online rows" in outcome.summary
