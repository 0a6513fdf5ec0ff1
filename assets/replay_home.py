"""The home of a replayed year: a scratch one inside the user's, with its own lake, registry, Triton and records.

Here: opening it, and months that arrive in it. Not here: requests (assets/replay_day.py) and the story
(assets/replay_year.py).
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from assets.drill_serving import PORTS
from assets.driver import Driver
from assets.new_home import prepare
from assets.resources import Platform, platform_for
from assets.runs import QUIET, materialize
from ml.clock import ReplayClock
from ml.months import end_of
from ml.settings import Settings
from ml.sources import SOURCES
from ml.spec import ModelSpec
from serving.server import Server
from serving.triton_files import free_ports


@dataclass(frozen=True)
class ReplayHome:
    """A home in which time is replayed, and its parts."""

    platform: Platform
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    log: Path

    @property
    def clock(self) -> ReplayClock:
        """The replayed clock."""
        return ReplayClock(self.platform.settings.clock_file)

    @cached_property
    def driver(self) -> Driver:
        """What asks the sensors, with their cursors."""
        return Driver(self.definitions, self.instance, self.platform, self.log)

    def arrive(self, months: Sequence[str]) -> None:
        """Land, build and publish months, each landed once it was over, the others a day after the last one.

        Rows that are there already are not landed twice. Raises what the failing step raised.
        """
        for month in months:
            self.clock.set(end_of(month) + timedelta(days=1))
            for source in SOURCES:
                if source.months is not None and not source.months.has(month):
                    continue
                if source.partition is not None:
                    self._run([dg.AssetKey(source.table.split("/"))], [month])
                elif not self.platform.lake.exists(source.table):
                    self._run([dg.AssetKey(source.table.split("/"))])
        for stages in (("staging", "features"), ("published",)):
            self._run(self._stage(months[0], *stages), months)

    def published(self, month: str) -> bool:
        """Whether a month of every table has been published."""
        names = ["/".join(key.path[1:]) for key in self._stage(month, "published")]
        current = [self.platform.publications.current(name) for name in names]
        return all(publication is not None and month in publication.staged for publication in current)

    def _run(self, keys: Sequence[dg.AssetKey], months: Sequence[str] = ()) -> None:
        materialize(self.definitions, self.instance, keys, months, self.log, told=QUIET)

    def _stage(self, month: str, *stages: str) -> list[dg.AssetKey]:
        """Return the assets of these stages that have the month: other sources may have other months."""
        graph = self.definitions.resolve_asset_graph()
        keys = sorted(key for key in graph.get_all_asset_keys() if key.path[0] in stages)
        found = [(key, graph.get(key).partitions_def) for key in keys]
        return [key for key, partitions in found if partitions and month in partitions.get_partition_keys()]


@contextmanager
def replay_home(
    settings: Settings, folder: Path, models: Sequence[ModelSpec], fresh: bool = False
) -> Iterator[ReplayHome]:
    """Open the home at `folder`, made if there is none or a `fresh` one is wanted, with a Triton of its own.

    Triton is stopped at the end. Raises LookupError if dbt's project cannot be parsed or Triton cannot start.
    """
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    if not (folder / "dbt" / "manifest.json").exists():
        prepare(folder)
    own = settings.embedded_in(folder, **_ports(folder))
    platform = platform_for(own)
    log = folder / "logs" / "replay.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    os.environ["DAGSTER_HOME"] = str(own.dagster_home)
    from assets.definitions import definitions_for

    server = Server(own)
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(own.dagster_home))) as instance:
        try:
            yield ReplayHome(platform, definitions_for(platform, models=models), instance, log)
        finally:
            server.stop()


def _ports(folder: Path) -> dict[str, int]:
    """Return the ports of the home's Triton, drawn once: a Triton that was left running is found again."""
    kept = folder / "ports.json"
    if not kept.exists():
        kept.write_text(json.dumps(dict(zip(PORTS, free_ports(len(PORTS)), strict=True))))
    ports: dict[str, int] = json.loads(kept.read_text())
    return ports
