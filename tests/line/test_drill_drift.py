"""`make drill-drift` on a home in which the demo ran."""

import re
import sys

import pytest

from assets.drill import fingerprint

pytestmark = [pytest.mark.server, pytest.mark.timeout(1200)]


def test_a_heat_wave_asks_for_one_retraining_and_bad_data_hold_it_back(live):
    before = fingerprint(live.platform)
    done = live.command(sys.executable, "-m", "assets.drill_drift")
    assert done.returncode == 0, done.stdout + done.stderr
    story = [
        "2 weeks .*as they were",
        "served_parity: ",
        "nothing is asked for: no signal",
        "the audit trail has nothing",
        "a heat wave .*published",
        "3 weeks .*in the heat",
        "served_parity: ",
        "novelty is breached in each",
        r"arrives with delays in seconds",
        r"raw/flights\[2013-12\] is in quarantine: ",
        "no retraining: held back: bad data, not drift: raw/flights",
        "the audit trail has it as held",
        "repaired",
        "now a retraining is asked for",
        "the audit trail says why: novelty: .*weather_observation__temp: .* of answers outside",
        "asked again, it is the same run: flight_delay:",
        "untouched",
    ]
    assert re.search(".*".join(story), done.stdout, re.DOTALL), done.stdout
    assert fingerprint(live.platform) == before
    assert live.platform.loop_log.rows("flight_delay").is_empty()
