"""The full serving path against a bare Triton model that only scores the same graph, and what one would pick instead.

Ours takes entity keys, reads online features, scores, logs and answers; the bare model is sent the features that ours
reads, and nothing else happens. One Triton serves both; a process of its own asks, in interleaved rounds: single rows
at concurrency 1, 8 and 32, and batches of 256. Our path is measured as the model ships (one process), with two
processes, and with two that answer from rows read up to a second ago. Beside them MLflow's own server, which is sent
the features too, and a FastAPI service that reads them through Feast's SDK. Needs the state that `make demo` leaves.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from assets.resources import platform_for
from benchmarks import _serving_bare
from benchmarks._line_process import LineProcess
from benchmarks._serving_load import write_requests
from benchmarks._serving_peers import Peer, fastapi_service, mlflow_server
from benchmarks._serving_world import World, as_triton, ask, in_parts, served
from benchmarks.report import conclude
from ml.models import model_named
from ml.settings import Settings
from serving.plan import MAX_BATCH

SPEC = model_named("flight_delay")
ROUNDS, SECONDS, WARM_UP = 5, 2.0, 0.5
ROWS = 4096
LOADS = {
    "1 row, 1 asker": (1, 1),
    "1 row, 8 askers": (1, 8),
    "1 row, 32 askers": (1, 32),
    "256 rows, 4 askers": (MAX_BATCH, 4),
}
P50, P99, THROUGHPUT, ROWS_A_SECOND = 2.0, 3.0, 0.5, 20_000.0
OURS, BARE = "full path", "bare model"
TWO, KEPT = "two processes", "two, 1 s kept"
OTHERS = {"two": {"processes": 2}, "kept": {"processes": 2, "feature_cache_ms": 1000}}
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Round:
    """One target under one load: latencies in milliseconds, answered rows a second, requests that failed."""

    p50: float
    p99: float
    rows: float
    failures: int


Rounds = dict[tuple[str, str], list[Round]]


def main() -> None:
    """Measure and print. Raises LookupError if no model is deployed."""
    platform = platform_for(Settings())
    with (
        tempfile.TemporaryDirectory() as folder,
        served(platform, SPEC, Path(folder) / "home", ROWS, OTHERS) as world,
        mlflow_server(world, Path(folder)) as mlflow,
        fastapi_service(world, Path(folder)) as fastapi,
        LineProcess("benchmarks._serving_load") as load,
    ):
        peers = [mlflow, fastapi]
        _require_same(world, peers)
        targets = _announced(world, load, Path(folder), peers)
        rounds = _measure(load, targets)
    _print(rounds, targets)
    _conclude(rounds)


def _require_same(world: World, peers: Sequence[Peer]) -> None:
    """Raise ValueError unless the peers answer as the bare model does: otherwise their times would mean nothing."""
    ours = ask(world.url, _serving_bare.NAME, next(in_parts(world.bare, MAX_BATCH)), world.plan.output)[:, 0]
    for peer in peers:
        theirs = peer.ask(next(in_parts(peer.tensors, MAX_BATCH)))
        if not np.allclose(ours, theirs, atol=TOLERANCE):
            raise ValueError(f"{peer.name} differs by {np.abs(ours - theirs).max()}; nothing is measured")


def _announced(world: World, load: LineProcess, folder: Path, peers: Sequence[Peer]) -> list[str]:
    """Tell the asking process of all that is asked, with requests of each size; return their names."""
    two, kept = (plan.model for plan in world.others)
    models = {
        OURS: (world.plan.model, world.router),
        TWO: (two, world.router),
        KEPT: (kept, world.router),
        BARE: (_serving_bare.NAME, world.bare),
    }
    for rows in {rows for rows, _ in LOADS.values()}:
        for name, (model, tensors) in models.items():
            requests = [as_triton(model, part) for part in in_parts(tensors, rows)]
            file = write_requests(folder / f"{name}-{rows}", requests)
            load.ask({"target": f"{name} {rows}", "url": world.url, "requests": str(file)})
        for peer in peers:
            file = write_requests(folder / f"{peer.name}-{rows}", [peer.body(p) for p in in_parts(peer.tensors, rows)])
            load.ask({"target": f"{peer.name} {rows}", "url": peer.url, "requests": str(file)})
    return [*models, *(peer.name for peer in peers)]


def _measure(load: LineProcess, targets: Sequence[str]) -> Rounds:
    rounds: Rounds = {(target, name): [] for name in LOADS for target in targets}
    for turn in range(ROUNDS + 1):
        for name, (rows, concurrency) in LOADS.items():
            for target in targets:
                seconds = SECONDS if turn else WARM_UP
                told = load.ask({"target": f"{target} {rows}", "concurrency": concurrency, "seconds": seconds})
                p50, p99 = np.percentile(told["latencies"] or [np.inf], [50, 99])
                answered = rows * len(told["latencies"]) / told["seconds"]
                if turn:
                    rounds[target, name].append(Round(float(p50), float(p99), answered, told["failures"]))
    return rounds


def _median(rounds: Sequence[Round], what: str) -> float:
    return float(median(getattr(one, what) for one in rounds))


def _print(rounds: Rounds, targets: Sequence[str]) -> None:
    print(f"\n{'':<20}{'':<22}{'p50 ms':>9}{'p99 ms':>9}{'rows/s':>10}{'failed':>8}")
    for name in LOADS:
        for target in targets:
            found = rounds[target, name]
            cells = (
                f"{_median(found, 'p50'):>9.2f}",
                f"{_median(found, 'p99'):>9.2f}",
                f"{_median(found, 'rows'):>10,.0f}",
            )
            print(f"{name:<20}{target:<22}" + "".join(cells) + f"{sum(one.failures for one in found):>8}")
    print()


def _conclude(rounds: Rounds) -> None:
    def ratios(what: str) -> dict[str, float]:
        return {n: round(_median(rounds[OURS, n], what) / _median(rounds[BARE, n], what), 2) for n in LOADS}

    def over(peer: str, name: str) -> float:
        return _median(rounds[OURS, name], "rows") / _median(rounds[peer, name], "rows")

    peers = sorted({target for target, _ in rounds} - {OURS, TWO, KEPT, BARE})
    p50, p99, rows = ratios("p50"), ratios("p99"), ratios("rows")
    singles = [name for name, (size, _) in LOADS.items() if size == 1]
    (batch,) = (name for name in LOADS if name not in singles)
    rows_a_second = {target: round(_median(rounds[target, batch], "rows")) for target in (OURS, TWO, KEPT)}
    bars = {
        "p50": max(p50[name] for name in singles) <= P50,
        "p99": max(p99[name] for name in singles) <= P99,
        "throughput": min(rows[name] for name in singles) >= THROUGHPUT,
        "rows_a_second": rows_a_second[TWO] >= ROWS_A_SECOND,
        "no_failures": not any(
            one.failures for (target, _), found in rounds.items() if target in (OURS, TWO, KEPT) for one in found
        ),
    }
    conclude(
        "serving_path",
        min(rows[name] for name in singles),
        THROUGHPUT,
        holds=all(bars.values()),
        bars=bars,
        p50=p50,
        p99=p99,
        throughput=rows,
        rows_a_second=rows_a_second,
        over_peers={peer: {n: round(over(peer, n), 1) for n in LOADS} for peer in peers},
    )


if __name__ == "__main__":
    main()
