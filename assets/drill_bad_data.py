"""`make drill-bad-data`: a real month arrives with its delays in seconds, on a scratch copy of the home.

The gate closes at raw, nobody downstream goes on however he is started, what is published and served stays as it was,
the batch is held with its reason, and the repair releases it. The home itself is only read.
"""

import sqlite3
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import dagster as dg
import polars as pl

from assets.drill import command, promise, say, scratch, untouched
from assets.drill_month import SECONDS, SPOILED, sources_with
from assets.drill_serving import ask, served
from assets.failures import one_line, shortened
from assets.quarantine import all_batches, held, listing
from assets.quiet import leave
from assets.resources import Platform
from assets.runs import materialize
from checks.guard import GateClosed
from checks.quarantine import HeldBatch
from ml.fingerprint import content_hash, json_hash
from ml.models import model_named
from ml.source import Source
from ml.sources.nycflights13 import YEAR

SPEC = model_named("flight_delay")
ASKED = 20  # flights whose answers are compared


class Drill:
    """The month in which the clock stands arrives again in a scratch home: spoiled, and then as it was."""

    def __init__(self, platform: Platform) -> None:
        """Take the scratch home, which is served."""
        self.platform = platform
        now = platform.clock.now()
        self._month = max(month for month in YEAR.names if month <= f"{now:%Y-%m}")
        moment = pl.col(SPEC.outcome.prediction_time)
        rows = platform.lake.read(f"{SPEC.name}/training_set").filter(moment <= now)
        self._questions = rows.sort(moment).tail(ASKED).collect().to_dicts()

    def run(self) -> None:
        """Tell the story. Raises PromiseBroken if a part of it does not come true."""
        seen, answers = readers_see(self.platform), self._answers()
        chances = [probability for probability, *_ in answers]
        say("before", f"{len(seen) - 1} published tables, an online store, and a Triton of the copy's own")
        say("", f"{ASKED} flights of {self._month} are late with {min(chances):.1%} to {max(chances):.1%}")
        self._gate_closes(self._spoiled())
        self._nobody_goes_on()
        self._unchanged(seen, answers)
        self._held()
        self._repair(seen, answers)

    def _spoiled(self) -> list[Source]:
        """Return the sources with one over a file that holds the month with its delays in seconds."""
        say("bad data", f"{SPOILED.table}[{self._month}] arrives again, its delays in seconds")
        return sources_with(self.platform, self._month, SECONDS)

    def _gate_closes(self, sources: Sequence[Source]) -> None:
        error = self._run([SPOILED.table], sources=sources)
        failed = self._batches()
        promise(error is not None and len(failed) == 1, "the run stops at raw: the batch fails its checks")
        for verdict in failed[0].verdicts:
            say(f"  {verdict.check}", shortened(verdict.evidence["summary"]))

    def _nobody_goes_on(self) -> None:
        """The child alone, which Dagster by itself would let go on; and the month after, which looks back."""
        later = [month for month in YEAR.names if month > self._month][:1]
        for month in [self._month, *later]:
            error = self._run(self._tables("staging", "features"), month)
            promise(isinstance(error, GateClosed), f"the features of {month}, started by themselves, are refused")
            say("", shortened(str(error)))

    def _unchanged(self, seen: dict[str, str], answers: list[tuple[Any, ...]]) -> None:
        now = readers_see(self.platform)
        promise(now == seen, f"all {len(seen) - 1} published tables and the online store are row-equal to before")
        promise(self._answers() == answers, f"Triton gives the same {ASKED} answers")

    def _held(self) -> None:
        say("quarantine", "as make quarantine tells it:")
        for line in listing(self.platform, self._batches(), with_rows=False).splitlines():
            say("", shortened(line))

    def _repair(self, seen: dict[str, str], answers: list[tuple[Any, ...]]) -> None:
        say("the repair", f"{self._month} lands as it should be; features and published follow")
        for tables in ([SPOILED.table], self._tables("staging", "features"), self._tables("published")):
            error = self._run(tables)
            promise(error is None, f"{tables[0].split('/')[0]} passes" + (f": {one_line(error)}" if error else ""))
        promise(not self._batches(), "the batch is released")
        for batch in all_batches(self.platform):
            if (batch.table, batch.partition) == (SPOILED.table, self._month):
                say("", f"{batch.name} version {batch.version}: {batch.state}")
        self._unchanged(seen, answers)

    def _batches(self) -> list[HeldBatch]:
        found = held(self.platform)
        return [batch for batch in found if (batch.table, batch.partition) == (SPOILED.table, self._month)]

    def _answers(self) -> list[tuple[Any, ...]]:
        return ask(self.platform.settings, SPEC.name, self._questions)

    def _tables(self, *stages: str) -> list[str]:
        keys = self._definitions.resolve_asset_graph().get_all_asset_keys()
        return sorted("/".join(key.path) for key in keys if key.path[0] in stages)

    @cached_property
    def _definitions(self) -> dg.Definitions:
        from assets.definitions import definitions_for

        return definitions_for(self.platform)

    def _run(
        self, tables: Sequence[str], month: str = "", sources: Sequence[Source] | None = None
    ) -> BaseException | None:
        """Materialize in a run of its own, and return what stopped it, if something did."""
        from assets.definitions import definitions_for

        definitions = definitions_for(self.platform, sources) if sources else self._definitions
        keys = [dg.AssetKey(table.split("/")) for table in tables]
        try:
            with dg.DagsterInstance.ephemeral() as instance:
                log = self.platform.settings.root / "tools.log"
                materialize(definitions, instance, keys, [month or self._month], log)
        except Exception as error:
            return error
        return None


def readers_see(platform: Platform) -> dict[str, str]:
    """Return a hash of the rows of each published table, and of the online store's."""
    seen = {}
    for table in platform.lake.tables():
        stage, _, name = table.partition("/")
        if stage == "published":
            rows = platform.publications.read(name).collect()
            seen[name] = content_hash(rows.sort(rows.columns))
    with sqlite3.connect(platform.settings.online_store) as store:
        return {**seen, "online": json_hash(list(store.iterdump()))}


def drill(platform: Platform) -> None:
    """Run the drill on a scratch copy of a home. Raises PromiseBroken if anything is not as promised."""
    started = time.monotonic()
    with untouched(platform), scratch(platform) as copy, served(platform, copy) as served_copy:
        Drill(served_copy).run()
    say("done", f"{time.monotonic() - started:.0f} s; the scratch home is gone")


if __name__ == "__main__":
    leave(command(drill))
