"""How benchmarks measure and print: medians, p99, peak memory, and one JSON object as the last line."""

import json
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Wall-clock times of repeated calls, in milliseconds."""

    median_ms: float
    p99_ms: float
    calls: int


def measure(call: Callable[[], Any], calls: int) -> Timing:
    """Call once to warm up, then `calls` times."""
    call()
    times = []
    for _ in range(calls):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1000)
    return Timing(median(times), quantiles(times, n=100)[98], calls)


def conclude(benchmark: str, ratio: float, bar: float, holds: bool | None = None, **more: Any) -> None:
    """Print peak memory of this process and the JSON line that ends every benchmark.

    The bar holds if the ratio is at least as large, unless `holds` says.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process: {peak:.0f} MiB")
    found: Mapping[str, Any] = {
        "benchmark": benchmark,
        "ratio": round(ratio, 2),
        "bar": bar,
        "holds": ratio >= bar if holds is None else holds,
        **more,
    }
    print(json.dumps(found))
