"""Versions promoted, rolled back and canaried under load: failed requests, answers by a wrong version, seconds to act.

Eight askers ask single rows without a pause for ten minutes (HEADWATER_SWAP_MINUTES) while 20 changes are made:
canaries begin and grow, are promoted, rolled back, and versions are deployed. Every answer's version must be one that
the plan named while it was under way, and its value that version's own, scored apart. Beside it what Triton itself
offers: a new version in the repository and a load, of a bare model that only scores. Needs what `make demo` leaves.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from assets.resources import platform_for
from benchmarks import _serving_bare
from benchmarks._graph_versions import write_version
from benchmarks._serving_load import write_requests
from benchmarks._serving_world import World, as_triton, in_parts, served
from benchmarks.report import conclude
from ml.models import model_named
from ml.scoring import open_session
from ml.serving_settings import Slo
from ml.settings import Settings
from serving.control import Control
from serving.plan import ANSWERING, Plan
from serving.rollout import Newcomer, begin, deploy, promote, rollback

_SPEC = model_named("flight_delay")
# The askers take all cores; how fast a version must answer to be let in is not what is measured here.
SPEC = _SPEC.model_copy(update={"serving": _SPEC.serving.model_copy(update={"slo": Slo(p99_ms=2000)})})
MINUTES = float(os.environ.get("HEADWATER_SWAP_MINUTES", "10"))
CYCLES, ASKERS, ROWS = 4, 8, 512
PEER_SWAPS, PEER_PAUSE = 5, 2.0
ROLLBACK_SECONDS = 2.0
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Made:
    """One change: what, the plan that came of it, when it was asked for and when it was done [s, CLOCK_MONOTONIC]."""

    what: str
    plan: Plan
    asked: float
    done: float

    @property
    def answering(self) -> set[str]:
        """The versions that the plan lets answer."""
        arms = [arm.version.version for arm in self.plan.arms if arm.variant in ANSWERING and arm.share > 0]
        return {self.plan.champion.version, *arms}


@dataclass
class Swaps:
    """Changes of one model, a version of its own for each that begins or is deployed."""

    world: World
    folder: Path
    graphs: dict[str, Path]
    made: list[Made] = field(default_factory=list)

    def run(self, minutes: float) -> None:
        """Make all changes, evenly spread over the time."""
        changes = [change for _ in range(CYCLES) for change in self._cycle()]
        pause = minutes * 60 / (len(changes) + 1)
        for change in changes:
            time.sleep(pause)
            change()
        time.sleep(pause)

    def _cycle(self) -> Iterator[Callable[[], None]]:
        settings = self.world.settings
        one, two = self._newcomer(), self._newcomer()
        yield lambda: self._make("canary 10%", lambda: begin(one, settings, "canary", 0.1))
        yield lambda: self._make("canary 50%", lambda: begin(one, settings, "canary", 0.5))
        yield lambda: self._make("promote", lambda: promote(SPEC.name, settings, one.version))
        yield lambda: self._make("rollback", lambda: rollback(SPEC.name, settings)[0])
        views = self.world.platform.feature_views
        yield lambda: self._make("deploy", lambda: deploy(Newcomer(SPEC, two.version, two.onnx, views), settings))

    def _newcomer(self) -> Newcomer:
        number = 1000 + len(self.graphs)
        graph = write_version(Path(self.world.plan.champion.onnx), number, self.folder / f"{number}.onnx")
        self.graphs[str(number)] = graph
        return Newcomer(SPEC, str(number), graph, self.world.platform.feature_views)

    def _make(self, what: str, change: Callable[[], Plan]) -> None:
        asked = time.monotonic()
        plan = change()
        self.made.append(Made(what, plan, asked, time.monotonic()))
        took = self.made[-1].done - asked
        print(f"{what:<12} version {plan.champion.version} answers, revision {plan.revision}: {took:.2f} s", flush=True)


def main() -> None:
    """Measure and print. Raises LookupError if no model is deployed."""
    platform = platform_for(Settings())
    with (
        tempfile.TemporaryDirectory() as name,
        served(platform, SPEC, Path(name) / "home", ROWS, {}) as world,
    ):
        folder = Path(name)
        swaps = Swaps(world, folder, {world.plan.champion.version: Path(world.plan.champion.onnx)})
        swaps.made.append(Made("before", world.plan, time.monotonic(), time.monotonic()))
        requests = [as_triton(world.plan.model, part) for part in in_parts(world.router, 1)]
        with _asking(world, folder / "ours", requests) as file:
            swaps.run(MINUTES)
        ours = dict(np.load(file))
        peer, loads = _peer(world, folder)
        expected = {version: _scored(world, graph) for version, graph in swaps.graphs.items()}
        _conclude(swaps.made, ours, expected, peer, loads)


@contextmanager
def _asking(world: World, folder: Path, requests: list[bytes]) -> Iterator[Path]:
    """Have a process ask as long as the block lasts; then the file that it is given holds the answers."""
    folder.mkdir()
    asked, file = write_requests(folder / "requests", requests), folder / "answers.npz"
    words = [sys.executable, "-m", "benchmarks._swap_load", world.url, asked, world.plan.output, str(ASKERS), file]
    process = subprocess.Popen(list(map(str, words)), stdin=subprocess.PIPE)
    try:
        time.sleep(1)
        yield file
        process.communicate(timeout=60)
        if process.returncode:
            raise LookupError("the asking process failed; its error stands above")
    finally:
        process.kill()
        process.wait()


def _peer(world: World, folder: Path) -> tuple[dict[str, Any], list[tuple[str, float]]]:
    """Swap versions of the bare model as Triton does it; return the answers, and when each version was asked for."""
    requests = [as_triton(_serving_bare.NAME, part) for part in in_parts(world.bare, 1)]
    control, loads = Control(world.settings), []
    with _asking(world, folder / "peer", requests) as file:
        for number in range(2, 2 + PEER_SWAPS):
            time.sleep(PEER_PAUSE)
            asked = time.monotonic()
            _serving_bare.add_version(world.settings.serving_home / "models", number)
            control.load(_serving_bare.NAME)
            loads.append((str(number), asked))
        time.sleep(PEER_PAUSE)
    control.close()
    return dict(np.load(file)), loads


def _scored(world: World, graph: Path) -> Any:
    """Return what a version says to each request, scored here."""
    session = open_session(graph)
    feeds = {
        name: np.array([[v.decode()] for v in c[:, 0]], dtype=object) if c.dtype == object else c
        for name, c in world.bare.items()
    }
    return session.run([world.plan.output], feeds)[0][:, 0]


def _unnamed(made: list[Made], answers: dict[str, Any]) -> int:
    """Count answers by a version that no plan named while they were under way."""
    named = np.zeros(len(answers["sent"]), dtype=bool)
    for place, one in enumerate(made):
        until = made[place + 1].done if place + 1 < len(made) else np.inf
        under_way = (answers["received"] >= one.asked) & (answers["sent"] <= until)
        named |= under_way & np.isin(answers["version"], list(one.answering))
    return int((~named & (answers["version"] != "")).sum())


def _rollbacks(made: list[Made], answers: dict[str, Any]) -> list[float]:
    """Return for each rollback the seconds after which the version that was left answered nobody any more."""
    found = []
    for before, one in pairwise(made):
        if one.what == "rollback":
            left = (answers["version"] == before.plan.champion.version) & (answers["received"] > one.asked)
            later = [
                other.asked
                for other in made
                if other.asked > one.done and before.plan.champion.version in other.answering
            ]
            left &= answers["received"] < min(later, default=np.inf)
            last = answers["received"][left].max(initial=one.asked)
            found.append(max(last, one.done) - one.asked)
    return found


def _takeovers(answers: dict[str, Any], loads: list[tuple[str, float]]) -> list[float]:
    """Return for each load of Triton's the seconds until the version before answered nobody any more."""
    return [
        float(answers["received"][answers["version"] == str(int(version) - 1)].max(initial=asked) - asked)
        for version, asked in loads
    ]


def _wrong(answers: dict[str, Any], expected: dict[str, Any]) -> int:
    """Count answers that are not what their version says."""
    wrong = 0
    for version, values in expected.items():
        mine = answers["version"] == version
        wrong += int((np.abs(answers["value"][mine] - values[answers["number"][mine]]) > TOLERANCE).sum())
    return wrong


def _conclude(
    made: list[Made],
    ours: dict[str, Any],
    expected: dict[str, Any],
    peer: dict[str, Any],
    loads: list[tuple[str, float]],
) -> None:
    rollbacks, peers = _rollbacks(made, ours), _takeovers(peer, loads)
    taken = (ours["received"] - ours["sent"]) * 1e3
    p50, p99, longest = (float(np.percentile(taken, q)) for q in (50, 99, 100))
    told = {
        "changes": len(made) - 1,
        "answers": len(taken),
        "failed": len(ours["errors"]),
        "by_a_version_not_named": _unnamed(made, ours),
        "other_values_than_the_version_s": _wrong(ours, expected),
        "versions_seen": len(set(ours["version"].tolist()) - {""}),
    }
    for name, number in told.items():
        print(f"{name.replace('_', ' '):<34}{number:>12,}")
    print(f"{'answer p50, p99, longest [ms]':<34}{p50:>12.2f}{p99:>9.2f}{longest:>9.1f}")
    print(f"{'rollback in effect [s]':<34}{median(rollbacks):>12.3f} median, {max(rollbacks):.3f} longest")
    print(
        f"{'Triton, load of a bare model [s]':<34}{median(peers):>12.3f} median, {max(peers):.3f} longest, "
        f"{len(peer['errors'])} failed"
    )
    for error in sorted(set(ours["errors"].tolist()))[:5]:
        print(f"  {error}")
    holds = not (told["failed"] or told["by_a_version_not_named"] or told["other_values_than_the_version_s"])
    conclude(
        "version_swap",
        median(peers) / median(rollbacks),
        1.0,
        holds=holds and max(rollbacks) < ROLLBACK_SECONDS,
        minutes=MINUTES,
        rollback_seconds=round(max(rollbacks), 3),
        rollback_bar=ROLLBACK_SECONDS,
        p99_ms=round(p99, 2),
        **told,
    )


if __name__ == "__main__":
    main()
