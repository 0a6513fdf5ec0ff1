"""`make drill-rollback`: spoiled versions that slipped through their gates, on a served scratch copy of the home.

As canary one is reverted by the sensor by itself; as champion another is left by a rollback, while a client asks all
the time. Neither comes back. The home itself is only read.
"""

import time
from collections.abc import Callable

import dagster as dg
import polars as pl

from assets.drill import PromiseBroken, command, promise, say, scratch, untouched
from assets.drill_client import Asking
from assets.drill_registry import move_registry, slip_through
from assets.drill_serving import served
from assets.driver import Driver
from assets.quiet import leave
from assets.resources import Platform
from assets.rollout import Action, Step, take
from checks.canary import CHECK
from checks.guard import GateClosed
from ml.models import model_named
from serving.model_repository import ModelRepository

NAME = "flight_delay"
SHARE = 0.2
SHIFT = 2.0  # that is added to the log odds of each answer
ROWS = 4_000  # of the training set, asked again and again
PATIENCE = 90.0  # seconds


class Drill:
    """One run of the drill in a scratch home, which is served and asked."""

    def __init__(self, platform: Platform, asking: Asking) -> None:
        """Take the scratch home and who asks."""
        self.platform, self.asking = platform, asking
        self._repository = ModelRepository(platform.settings.serving_home)
        self._old = self._champion()

    def run(self) -> None:
        """Tell the story. Raises PromiseBroken if a part of it does not come true."""
        self._until(lambda: self.asking.count(self._old) > 0, f"version {self._old} answers")
        say("before", f"version {self._old} answers every row; a client asks all the time")
        self._canary(slip_through(self.platform, NAME, self._old, SHIFT))
        self._champion_of_an_hour(slip_through(self.platform, NAME, self._old, SHIFT))
        self._told()

    def _canary(self, bad: str) -> None:
        from assets.definitions import definitions_for

        self._take("canary", bad, SHARE)
        say("bad canary", f"version {bad}, its log odds moved by {SHIFT:g}, passed its gates and answers {SHARE:.0%}")
        started = time.monotonic()
        with dg.DagsterInstance.ephemeral(tempdir=str(self.platform.settings.root)) as instance:
            log = self.platform.settings.root / "tools.log"
            driver = Driver(definitions_for(self.platform), instance, self.platform, log)
            self._until(lambda: bool(driver.drive([f"{NAME}_trial_sensor"])), "the trial sensor decides")
            seconds = time.monotonic() - started
        promise(bad not in self._lineup(), f"the trial sensor ended it by itself, {seconds:.0f} s after it began")
        verdict = self.platform.verdicts.newest(f"{NAME}/model", int(bad), "", CHECK)
        promise(verdict is not None and not verdict.passed, "the verdict is on record:")
        assert verdict is not None
        say("", f"{verdict.evidence['summary'][:300]}")
        self._stays_out(bad)

    def _champion_of_an_hour(self, bad: str) -> None:
        self._take("promote", bad)
        say("bad champion", f"version {bad}, spoiled alike, was made champion by hand")
        mark = self.asking.total()
        self._until(lambda: self.asking.count(bad) > 0 and self.asking.total() > mark + 1_000, "it answers")
        started = time.monotonic()
        self._take("rollback")
        taken = time.monotonic() - started
        mark = self.asking.total()
        self._until(lambda: self.asking.total() > mark + 2_000, "the client goes on")
        late = max(0.0, self.asking.last(bad) - started)
        promise(self._champion() == self._old, f"make rollback brought version {self._old} back in {taken:.2f} s")
        promise(late <= taken + 1, f"its last answer came {late:.2f} s after the rollback began")
        self._stays_out(bad)

    def _told(self) -> None:
        self.asking.stop()
        named = {arm.version.version for plan in self._repository.history(NAME) for arm in plan.lineup}
        strangers = sum(n for version, n in self.asking.answers.items() if version not in named)
        counts = ", ".join(f"{n:,} by version {version}" for version, n in sorted(self.asking.answers.items()))
        say("answers", counts)
        failures = self.asking.failures
        promise(not failures, f"requests failed: {len(failures)}" + "".join(f"; {f}" for f in failures[:1]))
        promise(strangers == 0, f"answers by a version that no plan named: {strangers}")

    def _stays_out(self, bad: str) -> None:
        try:
            self._take("promote", bad)
        except GateClosed as error:
            promise(True, f"version {bad} does not come back: {str(error).splitlines()[0][:200]}")
        else:
            raise PromiseBroken(f"version {bad} was promoted though it had left service")

    def _take(self, action: Action, version: str = "", share: float = 0.1) -> None:
        take(self.platform, NAME, Step(action, version, share, "drill", "a drill"))

    def _champion(self) -> str:
        return self._lineup()[0]

    def _lineup(self) -> list[str]:
        plan = self._repository.deployed(NAME)
        assert plan is not None  # `served` refuses a home without one
        return [plan.champion.version, *(arm.version.version for arm in plan.arms if arm.variant != "previous")]

    def _until(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            if time.monotonic() > deadline:
                raise PromiseBroken(f"promised, but not so within {PATIENCE:g} s: {what}")
            time.sleep(0.2)


def questions(platform: Platform) -> pl.DataFrame:
    """Return the newest rows that were asked before the clock's instant."""
    moment = pl.col(model_named(NAME).outcome.prediction_time)
    rows = platform.lake.read(f"{NAME}/training_set").filter(moment <= platform.clock.now())
    return rows.sort(moment).tail(ROWS).collect()


def drill(platform: Platform) -> None:
    """Run the drill on a scratch copy of a home. Raises PromiseBroken if anything is not as promised."""
    started = time.monotonic()
    with untouched(platform), scratch(platform) as copy, served(platform, copy) as served_copy:
        move_registry(platform.settings, served_copy.settings, NAME)
        with Asking(served_copy.settings, NAME, questions(served_copy)) as asking:
            Drill(served_copy, asking).run()
    say("done", f"{time.monotonic() - started:.0f} s; the scratch home is gone")


if __name__ == "__main__":
    leave(command(drill))
