"""Rows learned from a second, ours against the usual loop (a Dataset row by row and a DataLoader): same network.

On the home's training set of flight_delay, else on rows made up here. HEADWATER_BENCH_SHARE (0 to 1) takes fewer rows,
for a look. Both loops take turns in one process, with the same batches of 1,024 rows, AdamW and device.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import polars as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks._training_rows import made_up_rows
from benchmarks.report import conclude
from ml.batches import Batch, Resident, cut_blocks, encoded
from ml.device import choose_device, hardware
from ml.encoding import Encoding, learn_encoding
from ml.lake import Lake
from ml.models.flight_delay import FLIGHT_DELAY
from ml.network import TabularNetwork
from ml.objective import Objective, objective_of
from ml.settings import Settings
from ml.shares import Shares
from ml.spec import NetworkSettings
from ml.split import split_rows
from ml.step import Step
from ml.world import ALONE

FASTER, DATA_SHARE = 10.0, 0.05
REPEATS = 3
MADE_UP_ROWS = 200_000


@dataclass(frozen=True)
class Found:
    """Median seconds of an epoch of each loop, and of producing our batches alone."""

    rows: int
    ours: float
    usual: float
    data: float

    @property
    def ratio(self) -> float:
        """How many times more rows a second ours learns from."""
        return self.usual / self.ours

    @property
    def data_share(self) -> float:
        """Share of our epoch that is handling of data."""
        return self.data / self.ours


@dataclass(frozen=True)
class Given:
    """What both loops learn: encoded rows, and what makes them and their loss."""

    encoding: Encoding
    objective: Objective
    rows: Batch
    device: torch.device


class OneByOne(Dataset[tuple[Tensor, ...]]):
    """Rows as a torch Dataset gives them: one at a time."""

    def __init__(self, rows: Batch) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        rows = self.rows
        return rows.categorical[index], rows.numeric[index], rows.times[index], rows.target[index]


class Usual:
    """The loop of most tutorials: for batch in DataLoader(dataset, batch_size, shuffle=True)."""

    def __init__(self, network: TabularNetwork, given: Given) -> None:
        self.network, self.objective, self.device = network, given.objective, given.device
        settings = FLIGHT_DELAY.training
        self.loader = DataLoader(OneByOne(given.rows), batch_size=settings.batch_size, shuffle=True)
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )

    def epoch(self) -> float:
        """Learn from all rows; return the mean loss of its batches."""
        self.network.train()
        total = 0.0
        for batch in self.loader:
            categorical, numeric, times, target = (part.to(self.device) for part in batch)
            self.optimizer.zero_grad()
            loss = self.objective.loss(self.network.outputs(categorical, numeric, times), target)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.loader)


class Ours:
    """Epochs as ml/loop.py runs them, without validation and checkpoints."""

    def __init__(self, network: TabularNetwork, given: Given) -> None:
        settings = FLIGHT_DELAY.training
        self.rows = Resident(given.rows.to(given.device), settings.seed)
        self.shares = Shares(len(given.rows), settings.batch_size)
        steps = self.shares.steps * settings.epochs
        self.step = Step(network, given.objective, settings, steps, ALONE, lambda line: print(line, flush=True))
        self.number, self.device = 0, given.device

    def epoch(self) -> float:
        """Learn from all rows; return the mean loss of its rows."""
        self.step.network.train()
        total = torch.zeros((), device=self.device)
        for batch in self.batches():
            total += self.step.learn(batch, self.number, 1.0) * len(batch)
            self.number += 1
        return total.item() / len(self.rows)

    def data(self) -> None:
        """Produce the batches of an epoch and do nothing with them."""
        for batch in self.batches():
            len(batch)
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def batches(self) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        return cut_blocks(self.rows.shuffled(self.number), self.shares.sizes(0))


def main() -> None:
    """Measure and print."""
    device = choose_device("auto")
    rows, where = _rows()
    rows = rows.head(int(rows.height * float(os.environ.get("HEADWATER_BENCH_SHARE", "1"))))
    encoding, objective = learn_encoding(FLIGHT_DELAY, rows), objective_of(FLIGHT_DELAY, rows)
    given = Given(encoding, objective, encoded(encoding, rows, objective.targets(rows)), device)
    print(f"{rows.height:,} rows to learn from, {where}; {hardware(device)}; medians of {REPEATS} epochs")
    print(f"{'network':<26}{'ours rows/s':>14}{'usual rows/s':>14}{'times':>8}{'data share':>12}")
    networks = {"small": NetworkSettings(hidden=(64,)), "flight_delay": FLIGHT_DELAY.network}
    found = {name: _measure(name, settings, given) for name, settings in networks.items()}
    small, whole = found["small"], found["flight_delay"]
    more = {f"{name}_idle": _idle(settings, given) for name, settings in networks.items()}
    conclude(
        "training_throughput",
        small.ratio,
        FASTER,
        holds=small.ratio >= FASTER and small.data_share < DATA_SHARE and whole.data_share < DATA_SHARE,
        device=hardware(device),
        rows=small.rows,
        **{f"{name}_rows_per_s": round(f.rows / f.ours) for name, f in found.items()},
        **{f"{name}_usual_rows_per_s": round(f.rows / f.usual) for name, f in found.items()},
        **{f"{name}_data_share": round(f.data_share, 4) for name, f in found.items()},
        flight_delay_ratio=round(whole.ratio, 2),
        **{name: round(share, 3) for name, share in more.items() if share is not None},
    )


def _rows() -> tuple[pl.DataFrame, str]:
    lake, table = Lake(Settings().lake), f"{FLIGHT_DELAY.name}/training_set"
    if not lake.exists(table):
        rows = made_up_rows(FLIGHT_DELAY, MADE_UP_ROWS)
        return split_rows(FLIGHT_DELAY, rows).train, "made up, for the home has no training set"
    return split_rows(FLIGHT_DELAY, lake.read(table).collect()).train, f"the home's {table}"


def _measure(name: str, settings: NetworkSettings, given: Given) -> Found:
    ours, usual = (_loop(kind, settings, given) for kind in (Ours, Usual))
    assert isinstance(ours, Ours)
    calls: dict[str, Callable[[], object]] = {"ours": ours.epoch, "data": ours.data, "usual": usual.epoch}
    ours.epoch()  # compiles, allocates
    seconds: dict[str, list[float]] = {kind: [] for kind in calls}
    for repeat in range(REPEATS):
        print(f"  {name}: {repeat + 1} of {REPEATS} ...", file=sys.stderr, flush=True)
        for kind, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[kind].append(time.perf_counter() - started)
    medians = {kind: median(times) for kind, times in seconds.items()}
    found = Found(len(given.rows), medians["ours"], medians["usual"], medians["data"])
    label = f"{name} {'-'.join(map(str, settings.hidden))}"
    speeds = f"{found.rows / found.ours:>14,.0f}{found.rows / found.usual:>14,.0f}"
    print(f"{label:<26}{speeds}{found.ratio:>8.1f}{found.data_share:>12.1%}", flush=True)
    return found


def _loop(kind: type[Ours] | type[Usual], settings: NetworkSettings, given: Given) -> Ours | Usual:
    torch.manual_seed(FLIGHT_DELAY.training.seed)
    network = TabularNetwork(given.encoding, settings, len(given.objective.auxiliary))
    return kind(network.to(given.device), given)


def _idle(settings: NetworkSettings, given: Given) -> float | None:
    """Return the share of an epoch in which the GPU runs no kernel; None without one."""
    if given.device.type != "cuda":
        return None
    from torch.profiler import ProfilerActivity, profile

    ours = _loop(Ours, settings, given)
    ours.epoch()
    started = time.perf_counter()
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        ours.epoch()
        wall = time.perf_counter() - started
    busy = sum(entry.self_device_time_total for entry in seen.key_averages()) / 1e6
    print(f"GPU without a kernel: {max(1 - busy / wall, 0.0):.0%} of the time of an epoch")
    return max(1 - busy / wall, 0.0)


if __name__ == "__main__":
    main()
