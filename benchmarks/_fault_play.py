"""Plays faults in a world: a clean month first, then each fault on a path, and what came of it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import polars as pl

from assets.runs import materialize
from benchmarks._fault_outcome import (
    Published,
    Refusal,
    Result,
    failed_count,
    judged,
    month_of,
    published,
    refusals_since,
    wrong_share,
)
from benchmarks._fault_paths import IN_PROCESS, SERVED, one_run, raw_alone
from benchmarks._fault_server import Server
from benchmarks._fault_world import World, key, prepare, stage_keys
from benchmarks.faults import Fault
from benchmarks.faults.features import SqlFault, changed_project

RAW = "raw alone"
PATHS = (RAW, *IN_PROCESS, *SERVED)


class Play:
    """A world, what was published in it, and what a clean month leaves."""

    def __init__(self, world: World) -> None:
        self.world = world

    @cached_property
    def before(self) -> Published:
        """What readers saw before the month arrived."""
        self.world.restore()
        return published(self.world.platform)

    @cached_property
    def clean(self) -> tuple[Published, dict[str, pl.DataFrame], dict[str, pl.DataFrame]]:
        """What a clean month leaves: what readers see, its published rows, its landed rows, each by table.

        Raises LookupError naming what refused it, if anything did: then nothing can be told of faulty months.
        """
        before = self.before
        refusals = self._run(lambda: one_run(self.world, self._arriving(None)), None)
        platform, month = self.world.platform, self.world.month
        now = published(platform)
        if refusals or now == before:
            told = "; ".join(f"{r.table} {r.check}: {r.reason[:300]}" for r in refusals) or "nothing was published"
            raise LookupError(f"the clean month {month} was not published: {told}")
        landed = {source.name: self._landed(source.name) for source in self.world.sources}
        return now, month_of(platform, month), landed

    def raw(self, fault: Fault) -> Result:
        """Land the month with its checks alone. `passed on` says that other rows than the clean ones passed."""
        landed = self.clean[2][fault.source]
        self.world.restore()
        self.world.deliver(fault)
        refusals = raw_alone(self.world, fault.source)
        if refusals:
            return Result("caught" if any(r.clear for r in refusals) else "crashed", refusals)
        return Result("harmless" if self._landed(fault.source).equals(landed) else "passed on")

    def path(self, name: str, fault: Fault | None, server: Server | None = None) -> Result:
        """Let the month arrive on one path and return what came of it; None is the clean month.

        A path of a server needs one that runs on this world.
        """
        clean, arriving = self.clean, self._arriving(fault)
        if server is not None:
            refusals = self._run(lambda: SERVED[name](server, self.world, arriving), fault, server)
        else:
            refusals = self._run(lambda: IN_PROCESS[name](self.world, arriving), fault)
        return self._result(self.world, clean, refusals)

    def sql(self, fault: SqlFault, folder: Path) -> Result:
        """Build and publish a clean month by SQL with a mistake in it, in one run after landing it."""
        clean = self.clean
        world = replace(self.world, project=changed_project(self.world.project, fault, folder))
        world.restore()
        world.deliver(None)
        with world.instance() as instance:
            for name in self._arriving(None):
                materialize(world.definitions(), instance, [key(world.source(name))], [world.month])
        prepare(world.home, world.project)

        def build() -> None:
            definitions = world.definitions()
            keys = [*stage_keys(definitions, "features"), *stage_keys(definitions, "published")]
            with world.instance() as instance, suppress(Exception):
                materialize(definitions, instance, keys, [world.month], world.root / "runs.log")

        return self._result(world, clean, self._watched(world, build))

    def _run(self, start: Callable[[], None], fault: Fault | None, server: Server | None = None) -> list[Refusal]:
        self.world.restore_data() if server is not None else self.world.restore()
        self.world.deliver(fault)
        return self._watched(self.world, start)

    def _watched(self, world: World, start: Callable[[], None]) -> list[Refusal]:
        """Run `start` and return what refused; an error of a run is on record, and no error here."""
        platform, failed = world.platform, failed_count(world.platform)
        with world.instance() as instance:
            runs = {record.dagster_run.run_id for record in instance.get_run_records()}
        start()
        with world.instance() as instance:
            return refusals_since(platform, instance, failed, runs)

    def _result(
        self,
        world: World,
        clean: tuple[Published, dict[str, pl.DataFrame], dict[str, pl.DataFrame]],
        refusals: Sequence[Refusal],
    ) -> Result:
        state = judged(world.platform, self.before, clean[0], refusals)
        share, column = wrong_share(world.platform, clean[1], world.month) if state == "missed" else (0.0, "")
        return Result(state, tuple(refusals), share, column)

    def _arriving(self, fault: Fault | None) -> list[str]:
        """Return what lands: every source that comes by month, and the faulty one."""
        monthly = [source.name for source in self.world.sources if source.partition is not None]
        return monthly if fault is None or fault.source in monthly else [fault.source, *monthly]

    def _landed(self, name: str) -> pl.DataFrame:
        source, lake = self.world.source(name), self.world.platform.lake
        rows = lake.read(source.table, partitions=None if source.partition is None else [self.world.month]).collect()
        return rows.sort(rows.columns)
