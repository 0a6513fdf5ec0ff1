"""`make drill-rollback` on a home in which the demo ran."""

import re
import sys

import pytest

from assets.drill import fingerprint

pytestmark = [pytest.mark.server, pytest.mark.timeout(1200)]


def test_bad_versions_leave_service_do_not_come_back_and_no_request_fails(live):
    before = fingerprint(live.platform)
    versions = live.platform.registry.versions("flight_delay")
    done = live.command(sys.executable, "-m", "assets.drill_rollback")
    assert done.returncode == 0, done.stdout + done.stderr
    story = [
        "a client asks all the time",
        r"answers 20%",
        "the trial sensor ended it by itself",
        r"revert after \d+ rows .*mean answer as the champion's\?",
        r"version \d+ does not come back: .*as canary: revert",
        "was made champion by hand",
        r"make rollback brought version \d+ back in \d",
        r"its last answer came \d",
        r"version \d+ does not come back: .*rolled back to version",
        "requests failed: 0",
        "answers by a version that no plan named: 0",
        "untouched",
    ]
    assert re.search(".*".join(story), done.stdout, re.DOTALL), done.stdout
    assert fingerprint(live.platform) == before
    assert live.platform.registry.versions("flight_delay") == versions
