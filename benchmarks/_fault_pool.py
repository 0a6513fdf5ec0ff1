"""Lands faults in several processes, each in a world of its own: the cheapest path for a whole library of them."""

import logging
import multiprocessing
import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

from benchmarks._fault_outcome import Result
from benchmarks._fault_play import Play
from benchmarks._fault_world import World
from benchmarks.faults import Fault, fault_named

_plays: list[Play] = []  # this process's own, once it has been started


def landed(world: World, faults: Iterable[Fault], processes: int | None = None) -> Iterator[tuple[Fault, Result]]:
    """Yield what came of landing each fault with its checks alone, in the order given."""
    faults = list(faults)
    count = min(processes or os.cpu_count() or 1, max(1, len(faults) // 4))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, _start, (world,)) as pool:
        yield from zip(faults, pool.map(_land, [fault.name for fault in faults]), strict=True)


def _start(world: World) -> None:
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # each of a hundred runs tells of itself
    _plays.append(Play(world.copied(world.root / f"beside-{os.getpid()}")))


def _land(name: str) -> Result:
    return _plays[0].raw(fault_named(name))
