"""`make drill-bad-data`: a real month arrives with its delays in seconds. What the gates do, on a copy; about a minute.

Tells a story and checks each of its promises: the gate closes at raw, nobody downstream goes on however he is started,
what is published and served stays as it was, the batch is held with its reason, and the repair releases it.
"""

import logging
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assets.drills import Scratch, Story, published_rows, scratch_copy
from assets.failures import one_line
from assets.partitions import MONTHS
from assets.quarantine import all_batches, held
from assets.quiet import quiet_exit
from assets.runs import materialize
from ml.models import model_named
from ml.settings import Settings
from ml.source import CsvReader, Source
from ml.sources import SOURCES, source_named

SPEC = model_named("flight_delay")
SPOILED, COLUMNS, FACTOR = "flights", ("dep_delay", "arr_delay"), 60
ASKED = 20  # flights whose answers are compared
SHOWN = 3  # failing rows


def drill(settings: Settings) -> int:
    """Run the drill on a copy of the home and return the exit code. Raises LookupError if there is no demo's state."""
    story = Story()
    print("Drill: bad data. Everything happens on a copy; what is published and served here is not touched.")
    with scratch_copy(settings) as scratch:
        BadMonth(scratch, story).play()
    return story.end()


class BadMonth:
    """The month in which the copy's clock stands arrives again, spoiled, and later as it was."""

    def __init__(self, scratch: Scratch, story: Story) -> None:
        self._scratch, self._story = scratch, story
        self._log = scratch.settings.root / "drill.log"
        now = scratch.platform.clock.now()
        self._month = max(m for m in MONTHS.get_partition_keys() if m <= f"{now:%Y-%m}")
        asked = scratch.platform.lake.read(f"{SPEC.name}/training_set")
        moment = pl.col(SPEC.outcome.prediction_time)
        self._questions = asked.filter(moment <= now).sort(moment).tail(ASKED).collect().to_dicts()

    def play(self) -> None:
        """Tell the story from the state before to the release."""
        before, answers = self._look("What readers see before")
        with tempfile.TemporaryDirectory() as folder:
            bad = self._spoiled(Path(folder))
            self._gate_closes(bad)
        self._nobody_goes_on()
        self._story.step("What readers see now")
        now = published_rows(self._scratch.platform)
        self._story.promise(f"all {len(before) - 1} published tables and the online store are row-equal", now == before)
        self._story.promise(f"Triton gives the same {ASKED} answers", self._answers() == answers)
        self._quarantine()
        self._repair(before, answers)

    def _look(self, title: str) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
        self._story.step(title)
        seen, answers = published_rows(self._scratch.platform), self._answers()
        probabilities = [probability for probability, *_ in answers]
        self._story.tell(
            f"{len(seen) - 1} published tables and an online store; the copy's own Triton answers for {ASKED} flights "
            f"with {min(probabilities):.3f} to {max(probabilities):.3f}, model version {answers[0][1]}"
        )
        return seen, answers

    def _answers(self) -> list[tuple[Any, ...]]:
        return self._scratch.ask(SPEC.name, self._questions)

    def _spoiled(self, folder: Path) -> list[Source]:
        """Return the sources with one over a file that holds the month with its delays in seconds."""
        source = source_named(SPOILED)
        assert source.partition is not None
        rows = source.read().filter(source.partition == self._month)
        path = folder / f"{SPOILED}.csv"
        rows.with_columns(pl.col(COLUMNS) * FACTOR).write_csv(path, null_value="NA")
        self._story.step(f"{self._month} of {source.table} arrives again: {rows.height} rows, the delays in seconds")
        return [replace(s, reader=CsvReader(path)) if s.name == SPOILED else s for s in SOURCES]

    def _gate_closes(self, sources: Sequence[Source]) -> None:
        error = self._run([f"raw/{SPOILED}"], sources=sources)
        self._story.promise("the run stops at raw, on a check", type(error).__name__ == "DagsterAssetCheckFailedError")
        for batch in self._held():
            for verdict in batch.verdicts:
                self._story.tell(
                    f"{batch.name} version {batch.version}, {verdict.check}: {verdict.evidence['summary']}"
                )

    def _nobody_goes_on(self) -> None:
        """The child alone in a run of its own, which Dagster by itself would let go on; and the month after."""
        later = [m for m in MONTHS.get_partition_keys() if m > self._month][:1]
        for month in [self._month, *later]:
            self._story.step(f"Somebody starts the features of {month} alone, with the source as it should be")
            error = self._run(self._features(), month)
            self._story.tell(one_line(error) if error else "it went on")
            self._story.promise("it refuses", type(error).__name__ == "GateClosed")

    def _quarantine(self) -> None:
        self._story.step("The quarantine (make quarantine)")
        found = self._held()
        self._story.promise(f"{SPOILED}[{self._month}] is held", [b.partition for b in found] == [self._month])
        for batch in found:
            self._story.tell(f"{batch.name} version {batch.version}, held since {batch.since:%Y-%m-%d %H:%M} UTC")
            rows = self._scratch.platform.quarantine.rows(batch.table, batch.version, batch.partition)
            for row in rows.head(SHOWN).iter_rows(named=True):
                self._story.tell(", ".join(f"{name} {value}" for name, value in row.items() if value is not None))

    def _repair(self, before: dict[str, Any], answers: list[tuple[Any, ...]]) -> None:
        self._story.step(f"The repair: {self._month} lands as it should be, features and published follow")
        for tables in ([f"raw/{SPOILED}"], self._features(), self._published()):
            error = self._run(tables)
            self._story.promise(f"{tables[0].split('/')[0]} passes", error is None)
            if error:
                self._story.tell(one_line(error))
        self._story.promise("nothing is held any more", not self._held())
        for batch in (b for b in all_batches(self._scratch.platform) if b.partition == self._month):
            self._story.tell(f"{batch.name} version {batch.version}: {batch.state}")
        now = published_rows(self._scratch.platform)
        self._story.promise("what is published, offline and online, is row-equal to the beginning", now == before)
        self._story.promise(f"Triton gives the same {ASKED} answers", self._answers() == answers)

    def _held(self) -> list[Any]:
        return [batch for batch in held(self._scratch.platform) if batch.table == f"raw/{SPOILED}"]

    def _features(self) -> list[str]:
        return self._stage("staging", "features")

    def _published(self) -> list[str]:
        return self._stage("published")

    def _stage(self, *stages: str) -> list[str]:
        from assets.definitions import definitions_for

        graph = definitions_for(self._scratch.platform).resolve_asset_graph()
        return sorted(key.to_user_string() for key in graph.get_all_asset_keys() if key.path[0] in stages)

    def _run(self, tables: Sequence[str], month: str = "", sources: Sequence[Source] = SOURCES) -> BaseException | None:
        """Materialize in a run of its own, and return what stopped it, if something did."""
        from assets.definitions import definitions_for

        keys = [dg.AssetKey(table.split("/")) for table in tables]
        definitions = definitions_for(self._scratch.platform, sources)
        try:
            with self._scratch.instance() as instance:
                materialize(definitions, instance, keys, [month or self._month], self._log)
        except Exception as error:
            return error
        return None


def main() -> int:
    """Run the drill. Returns 1 if a promise was broken, or after one line on what failed."""
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    try:
        return drill(Settings())
    except Exception as error:
        print(f"headwater: {one_line(error)}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    quiet_exit()
    sys.exit(main())
