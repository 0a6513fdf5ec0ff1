"""What `make model-ci` has each side do: build a world, join training sets, train; each only where it is not kept.

A world is a scratch home with the window's tables published. Sides whose tables are made by the same files share one.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from assets.drill import scratch
from assets.model_ci_cache import Cache
from assets.model_ci_side import RESULT, ROWS_FILE, SPECS, WORLD
from assets.model_ci_side import ROWS as ROWS_JSON
from assets.model_ci_sides import SCRIPT, Side
from assets.model_ci_trees import LOCK, training_hash, world_hash
from assets.resources import Platform
from ml.fingerprint import json_hash
from ml.provenance import ROOT
from ml.settings import Settings
from ml.split_windows import Split

_ROWS_BY = ("outcome", "features", "request")  # what of a spec its training set is made by
_LOOK_SECONDS = 0.2
_NOT_TRAINED_BY = ("description", "owner", "gates", "serving", "costs", "slices", "split")


@dataclass(frozen=True)
class Task:
    """What is asked for: the months, how they are cut, seeds and the bound on one fitting, in seconds."""

    months: tuple[str, ...]
    until: datetime
    split: Split
    seeds: int
    max_seconds: float

    @property
    def cut(self) -> dict[str, Any]:
        """The split as JSON."""
        return self.split.model_dump(mode="json")


@dataclass
class Half:
    """One side with what was found for it: its specs by name, its world, and by model training set and result."""

    side: Side
    task: Task
    kept: bool  # whether results are taken from, and left in, the cache
    specs: Mapping[str, Any] = field(default_factory=dict)
    world: Path = Path()
    rows: dict[str, Path] = field(default_factory=dict)
    results: dict[str, Path] = field(default_factory=dict)
    reused: list[str] = field(default_factory=list)

    @cached_property
    def world_key(self) -> str:
        """Hash of all that a world is made by; the environment is the change's, whichever side it is."""
        outcomes = sorted({spec["outcome"]["table"] for spec in self.specs.values()})
        ours = [(ROOT / LOCK).read_text(), SCRIPT.read_text()]
        return json_hash([world_hash(self.side.tree), outcomes, self.task.months, *ours])

    def rows_key(self, name: str) -> str:
        """Hash of all that a model's training set is made by."""
        return json_hash([self.world_key, name, self.task.cut, *(self.specs[name][part] for part in _ROWS_BY)])

    def result_key(self, name: str) -> str:
        """Hash of all that a model's result is made by."""
        content = json.loads((self.rows[name] / ROWS_JSON).read_text())["content"]
        task = self.task
        trained = [training_hash(self.side.tree), trained_by(self.specs[name]), task.cut, task.seeds, task.max_seconds]
        return json_hash([content, self.world_key, *trained])


def trained_by(spec: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what of a model's spec (None: there is no such model) can change what is trained here."""
    return None if spec is None else {name: part for name, part in spec.items() if name not in _NOT_TRAINED_BY}


@dataclass(frozen=True)
class Work:
    """The steps, on a cache and a folder for what is not whole yet."""

    cache: Cache
    folder: Path

    def read_specs(self, halves: Sequence[Half]) -> None:
        """Ask each side for its models."""

        def read(half: Half) -> None:
            out = half.side.run("specs", self.folder / f"{half.side.name}-specs", self.folder / "none")
            half.specs = json.loads((out / SPECS).read_text())

        _at_once(read, halves)

    def build_worlds(self, halves: Sequence[Half]) -> None:
        """Give each side a world, a kept one, a shared one or a new one; new ones are built at the same time."""
        makers = {half.world_key: half for half in reversed(halves)}  # a shared one is the base's
        fresh = [half for key, half in makers.items() if self.cache.find("worlds", _span(half.task), key) is None]
        _at_once(self._build_world, fresh)
        stale = [half for half in makers.values() if half not in fresh]
        if fresh and stale and not self._same_sources(makers.values()):
            for half in stale:
                half.side.processes.say(half.side.name, "the source has changed since its world was kept: built anew")
                self.cache.drop(self._world(half))
            _at_once(self._build_world, stale)
        for half in halves:
            half.world = self._world(half)
            maker = makers[half.world_key]
            if half is not maker:
                half.reused.append(f"the {maker.side.name}'s world (same files make it)")
            elif half not in fresh:
                half.reused.append("a kept world")

    def _build_world(self, half: Half) -> None:
        home = self.folder / f"{half.side.name}-world"
        shutil.rmtree(home, ignore_errors=True)
        half.side.run(
            "world", home, home, months=half.task.months, until=half.task.until.isoformat(), models=list(half.specs)
        )
        self.cache.put("worlds", _span(half.task), half.world_key, home)

    def _world(self, half: Half) -> Path:
        return self._kept("worlds", _span(half.task), half.world_key)

    def _kept(self, kind: str, name: str, key: str) -> Path:
        found = self.cache.find(kind, name, key)
        if found is None:
            raise LookupError(f"an entry of model-ci/{kind} is gone while it is used; run the command again")
        return found

    def _same_sources(self, halves: Any) -> bool:
        first, *others = (json.loads((self._world(half) / WORLD).read_text())["raw"] for half in halves)
        return all(first[name] == other[name] for other in others for name in first if name in other)

    def join_rows(self, halves: Sequence[Half], models: Sequence[str]) -> None:
        """Give each side the training sets of those of the models that it has; sides join at the same time."""
        due: dict[str, tuple[Half, str]] = {}
        for half in halves:
            for name in (name for name in models if name in half.specs):
                if self.cache.find("rows", name, half.rows_key(name)) is None:
                    due.setdefault(half.rows_key(name), (half, name))
        joining = [half for half in halves if any(maker is half for maker, _ in due.values())]
        _at_once(lambda half: self._join(half, [name for maker, name in due.values() if maker is half]), joining)
        for half in halves:
            for name in (name for name in models if name in half.specs):
                half.rows[name] = self._kept("rows", name, half.rows_key(name))

    def _join(self, half: Half, models: Sequence[str]) -> None:
        out = self.folder / f"{half.side.name}-rows"
        with scratch(Platform(Settings().embedded_in(half.world))) as copy:
            half.side.run("rows", out, copy.settings.root, models=models, split=half.task.cut)
        for name in models:
            self.cache.put("rows", name, half.rows_key(name), out / name)

    def train(self, half: Half, name: str) -> None:
        """Give a side the result of a model. One whose fitting was cut by time is not kept for another run."""
        key = half.result_key(name)
        found = self.cache.find("results", name, key) if half.kept else None
        if found is None:
            task, out = half.task, self.folder / f"{half.side.name}-{name}"
            asked = {"model": name, "rows": half.rows[name] / ROWS_FILE, "split": task.cut, "seeds": task.seeds}
            asked |= {"max_seconds": task.max_seconds}
            _at_once(lambda half: self._train(half, out, asked), [half])
            whole = half.kept and not cut_by_time(read_result(out))
            found = self.cache.put("results", name, key, out) if whole else out
        else:
            half.side.processes.say(half.side.name, f"{name}: kept from an earlier run")
            half.reused.append(f"the kept result of {name}")
        half.results[name] = found

    def _train(self, half: Half, out: Path, asked: Mapping[str, Any]) -> None:
        half.side.run("train", out, self.folder / "none", **asked)


def read_result(folder: Path) -> dict[str, Any]:
    """Return what training a model found."""
    found: dict[str, Any] = json.loads((folder / RESULT).read_text())
    return found


def cut_by_time(result: Mapping[str, Any]) -> bool:
    """Whether a fitting was ended, or planned shorter, by its bound in seconds."""
    return any(seed["stopped_by"] == "time" for seed in result["seeds"].values())


def _span(task: Task) -> str:
    return f"{task.months[0]}..{task.months[-1]}"


def _at_once(step: Callable[[Half], None], halves: Sequence[Half]) -> None:
    """Do a step of several sides at the same time. Raises what the first of them that failed raised."""
    with ThreadPoolExecutor(max(1, len(halves))) as pool:
        going = {pool.submit(step, half) for half in halves}
        try:
            while going:
                # Not for ever at a time: polars' handler of Ctrl-C does not wake a thread that waits.
                done, going = wait(going, timeout=_LOOK_SECONDS, return_when=FIRST_EXCEPTION)
                for one in done:
                    one.result()
        except BaseException:
            halves[0].side.processes.stop()
            raise
