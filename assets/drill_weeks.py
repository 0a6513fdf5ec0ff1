"""Weeks of real requests in `make drill-drift`: asked at their prediction times, matured, judged by a monitor run.

Not here: what the weeks mean for the model (assets/drill_drift.py).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import dagster as dg

from assets.drill import promise, say
from assets.performance_checks import CHECKS
from assets.replay_day import DAY, Days
from assets.replay_home import ReplayHome
from assets.resources import Platform
from ml.spec import ModelSpec

WEEK = 7 * DAY
SHARE = 0.12  # of the requests: every week of the data has labels enough to be judged
SHOWN = 300  # characters of a message


class Weeks:
    """Weeks of a model's requests in a served home."""

    def __init__(self, home: ReplayHome, spec: ModelSpec) -> None:
        """Take the home and the model."""
        self._home, self._spec = home, spec

    def play(self, start: datetime, weeks: int, how: str) -> None:
        """Ask weeks from a Monday on and have them judged once mature. Raises PromiseBroken if they are not."""
        end = start + weeks * WEEK
        days = Days(self._home, self._spec, start, end, SHARE)
        count = sum(days.play(start + n * DAY).requests for n in range(7 * weeks))
        say(f"{weeks} weeks", f"from {start:%Y-%m-%d} on, {how}: {count:,} requests answered")
        self._home.clock.set(end + timedelta(hours=self._spec.outcome.label_hours))
        runs = self._home.driver.drive([f"{self._spec.name}_monitor_sensor"])
        done = bool(runs) and all(run.status == dg.DagsterRunStatus.SUCCESS for run in runs)
        promise(done, "their labels have come, a monitor run judges them")
        parity = self._home.platform.verdicts.newest_verdicts(f"{self._spec.name}/predictions")[-1][0]
        promise(parity.passed, f"{parity.check}: {parity.evidence['summary'][:SHOWN]}")
        for monday in (start + week * WEEK for week in range(weeks)):
            told = self.verdicts(monday)
            breached = ", ".join(sorted(check for check, passed in told.items() if not passed))
            promise(told.keys() == CHECKS.keys(), f"{monday:%Y-%m-%d} is judged; breached: {breached or 'nothing'}")

    def verdicts(self, monday: datetime) -> dict[str, bool]:
        """Return whether the week from a Monday on passed, by check."""
        rows = self._home.platform.verdicts.rows(f"{self._spec.name}/performance")
        week = rows.filter(partition=f"{monday:%Y-%m-%d}")
        return dict(week.select("check", "passed").iter_rows())


@contextmanager
def home_of(copy: Platform) -> Iterator[ReplayHome]:
    """Yield a served scratch copy as a home in which time is replayed."""
    from assets.definitions import definitions_for

    with dg.DagsterInstance.ephemeral(tempdir=str(copy.settings.root)) as instance:
        yield ReplayHome(copy, definitions_for(copy), instance, copy.settings.root / "tools.log")
