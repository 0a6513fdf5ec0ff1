"""Served and trained on: the tensors that the model was given, as logged, against the training set's rows, bit for bit.

Real flights from the test window on, in order: for each moment the clock moves, what became known since is pushed, and
all flights of that moment are asked in one request to a real Triton. Then the log is compared: every input of the
graph with the training set's column, and the probabilities with those of the same graph on the training set's rows,
moment by moment. The gate `served_parity` judges the same log. Needs the state that `make demo` leaves.
"""

import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.resources import platform_for
from assets.served_parity import offline_rows
from benchmarks._replayed_flights import Replay, replay
from benchmarks.report import conclude
from checks.parity_comparison import shown
from checks.served_parity import check_served_parity, differing
from ml.models import model_named
from ml.scoring import feed, open_session
from ml.settings import Settings
from serving.feeds import ONNX_TYPES

SPEC = model_named("flight_delay")
ROWS = int(os.environ.get("HEADWATER_PARITY_ROWS", "10000"))
SHOWN = 5


def main() -> None:
    """Replay, compare and print. Raises LookupError if no model is deployed."""
    started, platform = time.monotonic(), platform_for(Settings())
    with (
        tempfile.TemporaryDirectory() as folder,
        replay(platform, SPEC, Path(folder) / "home") as world,
    ):
        moments, ids, events = _asked(world)
        trained, served = pl.concat(moments), world.logged(ids)
        seconds = time.monotonic() - started
        print(
            f"{trained.height:,} flights asked at {len(moments):,} moments, {events:,} events pushed, {seconds:.0f} s"
        )
        found = _compare(world, served, trained)
        gaps = np.abs(_offline_scores(world, moments) - served[world.plan.output].to_numpy())
        verdict = check_served_parity(served, lambda _: world.plan, offline_rows(platform), served.height)
    differ = sum(int(flags.sum()) for flags in found.values())
    statuses = _statuses(world, served)
    values = trained.height * len(found)
    print(f"probabilities of the same graph on the training set's rows: differ by at most {gaps.max():.1e}")
    print(f"the gate on the same log: {verdict.summary}")
    conclude(
        "served_parity",
        1 - differ / values,
        1.0,
        holds=not differ and not statuses["not_read"] and verdict.passed,
        rows=trained.height,
        moments=len(moments),
        events=events,
        values=values,
        differences=differ,
        columns={name: int(flags.sum()) for name, flags in found.items() if flags.any()},
        statuses=dict(statuses),
        probability_gap=float(gaps.max()),
        seconds=round(time.monotonic() - started, 1),
    )


def _asked(world: Replay) -> tuple[list[pl.DataFrame], list[str], int]:
    """Ask for the first flights of the test window, and tell how far it is."""
    asked, window = pl.col(SPEC.outcome.prediction_time), SPEC.split.test
    rows = world.platform.lake.read(f"{SPEC.name}/training_set").filter(asked >= window.start, asked < window.end)
    chosen = rows.sort(SPEC.outcome.prediction_time, SPEC.outcome.row_id).head(ROWS).collect()
    moments, ids, events, told = [], list[str](), 0, 0
    for part, answers, pushed in world.ask(chosen):
        moments.append(part)
        ids += answers
        events += pushed
        if len(ids) >= told:
            told += max(1000, ROWS // 10)
            at = part[SPEC.outcome.prediction_time][0]
            print(f"{at:%Y-%m-%d %H:%M}  {len(ids):>7,} of {chosen.height:,} flights, {events:,} events", flush=True)
    return moments, ids, events


def _compare(world: Replay, served: pl.DataFrame, trained: pl.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Compare all inputs of the graph, request fields too; print a line a column that differs."""
    kinds = {i.column: ONNX_TYPES[i.kind] for i in world.plan.champion.inputs}
    found = differing(kinds, served, trained)
    print(f"{len(kinds)} inputs a row, {len(kinds) * served.height:,} values compared")
    for name, flags in found.items():
        for place in np.flatnonzero(flags).tolist()[:SHOWN]:
            at, row = served["time"][place], trained[SPEC.outcome.row_id][place]
            both = f"served {shown(served[name][place])}, training set {shown(trained[name][place])}"
            print(f"  {name} of {row} at {at}: {both} ({int(flags.sum()):,} differ)")
    return found


def _statuses(world: Replay, served: pl.DataFrame) -> Counter[str]:
    found: Counter[str] = Counter({"not_read": 0})
    print(f"{'view':<24}" + "".join(f"{name:>18}" for name in ("present", "outside_max_age", "not_found")))
    for view in world.plan.views:
        counts = Counter(served[f"{view.name}__status"].to_list())
        print(f"{view.name:<24}" + "".join(f"{counts[n]:>18,}" for n in ("present", "outside_max_age", "not_found")))
        found.update(counts)
    return found


def _offline_scores(world: Replay, moments: list[pl.DataFrame]) -> NDArray[np.float32]:
    """Score the training set's rows a moment at a time, as they were asked."""
    session = open_session(Path(world.plan.champion.onnx), threads=1)
    types = {entry.name: entry.type for entry in session.get_inputs()}
    return np.concatenate([session.run([world.plan.output], feed(types, part))[0][:, 0] for part in moments])


if __name__ == "__main__":
    main()
