"""`make drill-drift`: weeks of real requests, then a heat wave that the model never saw, on a served scratch copy.

Weeks as they were ask for nothing. In the heat a retraining is due: it is held back as long as a month that the model
reads is spoiled, and asked for once after the repair. The training itself is not run: `make replay` trains. The home
itself is only read.
"""

import shutil
import time
from datetime import UTC, datetime

import dagster as dg

from assets.bad_data import bad_data
from assets.drill import command, promise, say, scratch, untouched
from assets.drill_heat import HOTTER, VIEW, publish_heat
from assets.drill_month import SECONDS, SPOILED, sources_with
from assets.drill_registry import move_registry
from assets.drill_serving import served
from assets.drill_weeks import SHOWN, WEEK, Weeks, home_of
from assets.quiet import leave
from assets.replay_home import ReplayHome
from assets.resources import Platform
from assets.runs import QUIET, materialize
from checks.novelty import CHECK as NOVELTY
from ml.models import model_named

SPEC = model_named("flight_delay")
START, CALM, HOT = datetime(2013, 11, 25, tzinfo=UTC), 2, 3  # a Monday; weeks
MONTHS = ("2013-11", "2013-12")  # that the weeks lie in
MONTH = "2013-12"  # that is spoiled


class Drill:
    """One run of the drill in a scratch home, which is served."""

    def __init__(self, home: ReplayHome) -> None:
        """Take the scratch home."""
        self.home, self.platform = home, home.platform
        self._weeks = Weeks(home, SPEC)

    def run(self) -> None:
        """Tell the story. Raises PromiseBroken if a part of it does not come true."""
        policy, heat = SPEC.retraining, START + CALM * WEEK
        say("the policy", f"{policy.breaches} of {policy.of} windows of {', '.join(policy.signals)}")
        self._weeks.play(START, CALM, "as they were")
        request, reason = self._look()
        promise(request is None and "no signal" in reason, f"nothing is asked for: {reason}")
        promise(not self._events(), "the audit trail has nothing")
        rows = publish_heat(self.platform, heat)
        by = ", ".join(f"{column} by {degrees:g}" for column, degrees in HOTTER.items())
        say("a heat wave", f"{rows:,} rows of {VIEW} from {heat:%Y-%m-%d} on are hotter (F): {by}; published")
        self._weeks.play(heat, HOT, "in the heat")
        mondays = [heat + week * WEEK for week in range(HOT)]
        new = [monday for monday in mondays if not self._weeks.verdicts(monday)[NOVELTY]]
        promise(new == mondays, f"{NOVELTY} is breached in each of them")
        self._held()
        self._asked()

    def _held(self) -> None:
        """Bad data first: the same windows, while a month that the model reads is in quarantine."""
        self._land(SECONDS)
        held = bad_data(self.platform, SPEC)
        promise(len(held) == 1, f"{held[0][:SHOWN] if held else 'nothing is in quarantine'}")
        request, reason = self._look()
        told = reason[reason.find("held back") :][:SHOWN]
        promise(request is None and "bad data, not drift" in reason, f"no retraining: {told}")
        promise(self._events() == ["held"], "the audit trail has it as held")
        self._land(1)
        promise(not bad_data(self.platform, SPEC), "repaired: the month lands as it was, nothing is in quarantine")

    def _asked(self) -> None:
        request, _ = self._look()
        promise(request is not None, "now a retraining is asked for")
        assert request is not None
        events = self.platform.loop_log.rows(SPEC.name).filter(event="retrain")
        reason = events["reason"][-1] if events.height else ""
        column = f"{VIEW}__{next(iter(HOTTER))}"
        why = reason[reason.find(NOVELTY) :]
        promise(NOVELTY in reason and column in why, f"the audit trail says why: {why[:SHOWN]}")
        again, _ = self._look()
        same = again is not None and again.run_key == request.run_key
        promise(same and self._events() == ["held", "retrain"], f"asked again, it is the same run: {request.run_key}")
        say("", "the training is not run here: make replay does that")

    def _land(self, factor: int) -> None:
        """Land the month for real, its delays times a factor."""
        from assets.definitions import definitions_for

        sources = sources_with(self.platform, MONTH, factor)
        say("the month", f"{SPOILED.table}[{MONTH}] arrives {'as it was' if factor == 1 else 'with delays in seconds'}")
        key = dg.AssetKey(SPOILED.table.split("/"))
        try:
            materialize(
                definitions_for(self.platform, sources), self.home.instance, [key], [MONTH], self.home.log, told=QUIET
            )
        except Exception:
            if factor == 1:
                raise

    def _events(self) -> list[str]:
        return self.platform.loop_log.rows(SPEC.name)["event"].to_list()

    def _look(self) -> tuple[dg.RunRequest | None, str]:
        """Ask the retraining sensor; return the run that it asks for, or why it asks for none."""
        repository = self.home.definitions.get_repository_def()
        sensor = repository.get_sensor_def(f"{SPEC.name}_retraining_sensor")
        resources = {"platform": self.platform}
        with dg.build_sensor_context(self.home.instance, repository_def=repository, resources=resources) as context:
            tick = sensor.evaluate_tick(context)
        return next(iter(tick.run_requests or ()), None), tick.skip_message or ""


def drill(platform: Platform) -> None:
    """Run the drill on a scratch copy of a home. Raises PromiseBroken if anything is not as promised."""
    started = time.monotonic()
    published = platform.publications.current(SPEC.outcome.table)
    if missing := sorted(set(MONTHS) - set(published.staged if published else ())):
        raise LookupError(f"published/{SPEC.outcome.table} lacks {', '.join(missing)}; run make demo first")
    with (
        untouched(platform),
        scratch(platform) as copy,
        served(platform, copy) as served_copy,
        home_of(served_copy) as home,
    ):
        move_registry(platform.settings, served_copy.settings, SPEC.name)
        shutil.rmtree(served_copy.lake.path("audit/loop"), ignore_errors=True)  # its trail begins here
        Drill(home).run()
    say("done", f"{time.monotonic() - started:.0f} s; the scratch home is gone")


if __name__ == "__main__":
    leave(command(drill))
