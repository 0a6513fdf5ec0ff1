"""`make drill-bad-data` on a home in which the demo ran."""

import re
import sys

import pytest

from assets.drill import fingerprint

pytestmark = [pytest.mark.server, pytest.mark.timeout(1200)]


def test_the_drill_shows_the_gate_closing_nothing_changing_and_the_release(live):
    before = fingerprint(live.platform)
    done = live.command(sys.executable, "-m", "assets.drill_bad_data")
    assert done.returncode == 0, done.stdout + done.stderr
    story = [
        r"raw/flights\[2013-10\] arrives again",
        "the run stops at raw",
        "the features of 2013-10, started by themselves, are refused",
        "the features of 2013-11, started by themselves, are refused",
        "published tables and the online store are row-equal to before",
        "Triton gives the same",
        r"raw/flights\[2013-10\] version \d+: held",
        "the repair",
        "the batch is released",
        r"version \d+: released by version \d+",
        "Triton gives the same",
        "untouched",
    ]
    assert re.search(".*".join(story), done.stdout, re.DOTALL), done.stdout
    assert fingerprint(live.platform) == before
