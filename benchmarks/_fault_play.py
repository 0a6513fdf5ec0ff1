"""Plays faults in a world: what a clean month leaves, then each fault on a path, and what came of it."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import polars as pl

from benchmarks._fault_outcome import (
    Published,
    Refusal,
    Result,
    failed_count,
    fate,
    month_of,
    published,
    refusals_since,
    stopped,
    wrong_share,
)
from benchmarks._fault_paths import IN_PROCESS, SERVED, build, one_run, raw_alone, run
from benchmarks._fault_server import Server
from benchmarks._fault_world import SERVED_BY, World, key, prepare
from benchmarks.faults import Fault
from benchmarks.faults.features import SqlFault, changed_project
from ml.fingerprint import content_hash


class Clean(NamedTuple):
    """What a clean month leaves: what readers see of all months, and the month's published rows by table."""

    published: Published
    rows: dict[str, pl.DataFrame]


class Play:
    """A world, what was published in it before the month, and what a clean month leaves."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._clean_landings: dict[str, str] = {}

    @cached_property
    def before(self) -> Published:
        """What readers saw before the month arrived."""
        self.world.restore()
        return published(self.world.platform)

    @cached_property
    def clean(self) -> Clean:
        """What a clean month leaves. Raises LookupError naming what refused it: then faulty ones prove nothing."""
        before = self.before
        refusals = self._watched(lambda: one_run(self.world, self._arriving(())), ())
        platform, month = self.world.platform, self.world.month
        now = published(platform)
        if refusals or now == before:
            told = "; ".join(f"{r.table} {r.check}: {r.reason[:300]}" for r in refusals) or "nothing was published"
            raise LookupError(f"the clean month {month} was not published: {told}")
        return Clean(now, month_of(platform, month))

    def raw(self, fault: Fault) -> Result:
        """Land the month with its checks alone. `passed on` says that other rows than the clean ones passed."""
        landed = self._clean_landing(fault.source)
        self.world.restore_landing(fault.source)
        self.world.deliver([fault])
        refusals = raw_alone(self.world, fault.source)
        if refusals:
            return Result(stopped(refusals), refusals)
        return Result("harmless" if self._landed(fault.source) == landed else "passed on")

    def path(self, name: str, faults: Sequence[Fault] = (), server: Server | None = None) -> Result:
        """Let the month arrive on one path, with faults of different sources, and return what came of it.

        A path of a server needs one that runs on this world; `before` and `clean` must be known by then.
        """
        _, arriving = self.before, self._arriving(faults)
        if server is None:
            return self._result(self._watched(lambda: IN_PROCESS[name](self.world, arriving), faults))
        return self._result(self._watched(lambda: SERVED[name](server, self.world, arriving), faults, SERVED_BY))

    def sql(self, fault: SqlFault, folder: Path) -> Result:
        """Build and publish a clean month by SQL with a mistake in it, in one run after landing it."""
        _ = self.clean
        world = replace(self.world, project=changed_project(self.world.project, fault, folder))

        def land_and_build() -> None:
            for name in self._arriving(()):
                run(self.world, [key(self.world.source(name))])
            prepare(world.home, world.project)
            build(world)

        return self._result(self._watched(land_and_build, ()))

    def _watched(self, start: Callable[[], None], faults: Sequence[Fault], keep: Collection[str] = ()) -> list[Refusal]:
        """Restore the world, deliver, run `start`, and return what refused; no failed run is an error here."""
        self.world.restore(keep)
        self.world.deliver(faults)
        platform, failed = self.world.platform, failed_count(self.world.platform)
        with self.world.instance() as instance:
            runs = {record.dagster_run.run_id for record in instance.get_run_records()}
        start()
        with self.world.instance() as instance:
            return refusals_since(platform, instance, failed, runs)

    def _result(self, refusals: Sequence[Refusal]) -> Result:
        platform, month = self.world.platform, self.world.month
        now = published(platform)
        if now == self.before:
            return Result(stopped(refusals), tuple(refusals))
        rows = month_of(platform, month)  # a clean month may have to be played first, in this very world
        state = fate(now, self.before, self.clean.published, refusals)
        share, column = wrong_share(platform, self.clean.rows, rows) if state == "missed" else (0.0, "")
        return Result(state, tuple(refusals), share, column)

    def _arriving(self, faults: Sequence[Fault]) -> list[str]:
        """Return what lands: every source that comes by month, and the faulty ones."""
        monthly = [source.name for source in self.world.sources if source.partition is not None]
        return [*(fault.source for fault in faults if fault.source not in monthly), *monthly]

    def _clean_landing(self, name: str) -> str:
        """Return a hash of what a clean month lands. Raises LookupError if it is refused."""
        if name not in self._clean_landings:
            self.world.restore_landing(name)
            self.world.deliver(())
            refusals = raw_alone(self.world, name)
            if refusals:
                raise LookupError(f"the clean month {self.world.month} was refused: {refusals[0].reason}")
            self._clean_landings[name] = self._landed(name)
        return self._clean_landings[name]

    def _landed(self, name: str) -> str:
        source, lake = self.world.source(name), self.world.platform.lake
        rows = lake.read(source.table, partitions=None if source.partition is None else [self.world.month]).collect()
        return content_hash(rows.sort(rows.columns))
