"""`make replay`: the year as it happened, in a scratch home of its own, with Headwater's loop at work.

Months arrive in order, requests are sent to a real Triton at their prediction times, outcomes mature, and the loop's
sensors act. A month's batch stands in for its stream: it lands, is audited and published with the clock at its end.
Then the clock goes back to its first day and forward with the requests, events are pushed at the instants at which they
became known, and labels are looked at no earlier than they came. An interrupted replay goes on where it was.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from assets.drill import command, say
from assets.quiet import leave
from assets.replay_day import DAY, Days
from assets.replay_home import ReplayHome, replay_home
from assets.replay_page import counts, standings_table, write_page
from assets.replay_result import YearResult, compare_year
from assets.replay_rivals import LOOP, Rival, monthly, never, offline_rows
from assets.replay_steps import retrainings, shares
from assets.resources import Platform
from assets.retraining import run_config
from ml.models import model_named
from ml.months import end_of, start_of
from ml.serving_settings import CanaryBounds
from ml.sources.nycflights13 import YEAR
from ml.spec import ModelSpec
from ml.windows import newest_final
from serving.model_repository import ModelRepository
from serving.server import Server

FIRST_MONTHS = 3  # learned from by the first model
SETTLED = timedelta(days=2)  # after the last request: outcomes have matured


def replayed(name: str = "flight_delay") -> ModelSpec:
    """Return the model as the replay keeps it: a new version is a shadow first, and then the canary of a fifth."""
    spec = model_named(name)
    serving = spec.serving.model_copy(update={"shadow_rows": 500, "canary_share": 0.2})
    canary = CanaryBounds(hours=24 * 7)
    return spec.model_copy(update={"serving": serving, "canary": canary})


@dataclass
class Replay:
    """A year in a home: `months` in order, of which the first ones are only learned from; `share` of the requests."""

    home: ReplayHome
    spec: ModelSpec
    months: Sequence[str]
    share: float = 1.0

    def run(self) -> YearResult:
        """Play what is not played yet, compare, write the page. Raises what a failing step raises."""
        self._begin()
        for month in self.months[FIRST_MONTHS:]:
            self._month(month)
        self.home.clock.set(end_of(self.months[-1]) + SETTLED)
        self._act(self.sensors)
        return self._compared()

    @property
    def start(self) -> datetime:
        """The first day on which requests are sent."""
        return end_of(self.months[FIRST_MONTHS - 1])

    @cached_property
    def sensors(self) -> tuple[str, ...]:
        """The loop, in the order in which its parts feed each other."""
        return tuple(f"{self.spec.name}_{part}_sensor" for part in ("monitor", "retraining", "trial"))

    @property
    def state(self) -> Path:
        """The file that says which day is to be played next."""
        return self.home.platform.settings.home / "replay.json"

    def _begin(self) -> None:
        """Publish the first months, train on them and serve that. Raises ValueError if another share was begun."""
        if self.state.exists():
            if (begun := self._kept()["share"]) != self.share:
                raise ValueError(
                    f"this replay was begun with a share of {begun:g}, not {self.share:g}; FRESH=1 begins anew"
                )
            return
        if not self.home.published(self.months[FIRST_MONTHS - 1]):
            say(f"to {self.months[FIRST_MONTHS - 1]}", "the first months land, are audited and published")
            self.home.arrive(self.months[:FIRST_MONTHS])
        self.home.clock.set(self.start + timedelta(hours=self.spec.outcome.label_hours))
        Server(self.home.platform.settings).start()
        if self._champion() is None:
            self.home.driver.start(f"{self.spec.name}_retrain", run_config(self.spec.name, self.start))
        say(f"{self.start:%Y-%m-%d}", f"version {self._champion()} learned from them and serves")
        self._keep(self.start)

    def _month(self, month: str) -> None:
        start, end = start_of(month), end_of(month)
        day = max(start, self._next())
        if day >= end:
            return
        if not self.home.published(month):
            say(month, "arrives: lands, is audited, published")
            self.home.arrive([month])
        self.home.clock.set(day)
        Server(self.home.platform.settings).start()
        days, began, requests = Days(self.home, self.spec, day, end, self.share), time.monotonic(), 0
        while day < end:
            requests += days.play(day).requests
            day += DAY
            self._act(self.sensors if self._matured(day) else self.sensors[-1:])
            self._keep(day)
        say("", f"{month}: {requests:,} requests in {time.monotonic() - began:.0f} s, the loop's work included")

    def _matured(self, day: datetime) -> bool:
        """Whether the labels of a window of answers have come since the day before."""
        monitoring, hours = self.spec.monitoring, self.spec.outcome.label_hours
        now, before = (newest_final(monitoring.window_days, hours, moment) for moment in (day, day - DAY))
        return now != before

    def _act(self, sensors: Sequence[str]) -> None:
        """Let sensors of the loop act, and tell what they did."""
        log = self.home.platform.loop_log
        before = log.rows(self.spec.name).height
        self.home.driver.drive(sensors)
        for event in log.rows(self.spec.name)[before:].iter_rows(named=True):
            version = f" version {event['version']}" if event["version"] else ""
            say(f"{event['at']:%Y-%m-%d}", f"{event['event']}{version}: {event['reason']}"[:300])

    def _compared(self) -> YearResult:
        platform, spec = self.home.platform, self.spec
        say("compared", "the same served rows, kept in three ways")
        rows = offline_rows(platform, spec)
        served = self._served(rows)
        events = platform.loop_log.rows(spec.name)
        first = events.filter(event="champion")["version"][0]
        starts = [end_of(month) for month in self.months[FIRST_MONTHS - 1 : -1]]
        runs = retrainings(self.home.instance, spec)
        rivals = [
            never(platform, spec, served, first),
            monthly(platform, spec, rows, served, first, starts, lambda line: say("", line)),
            Rival(LOOP, served["served"].to_numpy(), tuple(run.seconds for run in runs)),
        ]
        result = compare_year(spec, served, rivals)
        page = platform.settings.reports / "replay.html"
        write_page(page, spec, result, events, runs)
        print(standings_table(spec, result))
        say("the loop", counts(events))
        for step, seconds, share in shares(runs):
            say("", f"{step}: {seconds:g} s, {share}")
        say("page", str(page))
        return result

    def _served(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the labelled rows that were answered, with the answer as `served`."""
        outcomes = self.home.platform.lake.read(f"{self.spec.name}/outcomes").collect()
        row_id = self.spec.outcome.row_id
        answered = outcomes.drop_nulls(self.spec.outcome.label).select(row_id, pl.col("answer").alias("served"))
        return rows.join(answered.unique(row_id), on=row_id, how="inner", maintain_order="left")

    def _champion(self) -> str | None:
        plan = ModelRepository(self.home.platform.settings.serving_home).deployed(self.spec.name)
        return None if plan is None else plan.champion.version

    def _next(self) -> datetime:
        return datetime.fromisoformat(self._kept()["next"])

    def _kept(self) -> dict[str, Any]:
        kept: dict[str, Any] = json.loads(self.state.read_text())
        return kept

    def _keep(self, day: datetime) -> None:
        new = self.state.with_suffix(".new")
        new.write_text(json.dumps({"next": day.isoformat(), "share": self.share}))
        new.replace(self.state)


def main(arguments: list[str] | None = None) -> int:
    """Replay the year. Returns 0, 1 after one line on what failed, 130 interrupted: run it again and it goes on."""
    parser = argparse.ArgumentParser(prog="python -m assets.replay_year", description="Replay the year as it happened.")
    known = YEAR.names
    parser.add_argument("--until", choices=known[FIRST_MONTHS:], default=known[-1], help="the last month")
    parser.add_argument("--share", type=float, default=1.0, help="share of the requests that are sent")
    parser.add_argument("--fresh", action="store_true", help="begin anew")
    given = parser.parse_args(arguments)
    months = known[: known.index(given.until) + 1]
    if not 0 < given.share <= 1:
        parser.error(f"--share is {given.share:g}; it is above 0 and at most 1")

    def work(platform: Platform) -> None:
        folder, spec = platform.settings.home / "replay", replayed()
        with replay_home(platform.settings, folder, [spec], given.fresh) as home:
            Replay(home, spec, months, given.share).run()

    return command(work)


if __name__ == "__main__":
    leave(main())
