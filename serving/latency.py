"""How long one row's answer takes through Triton, as a client sees it, before a version counts as deployed.

Here: asking and the percentile. Not here: the graph's own cost (ml/cost.py), what follows from it (serving/rollout.py).
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import numpy as np

from ml.settings import Settings
from serving.client import HeadwaterClient
from serving.control import CALL_SECONDS

ANSWERS = 200
ROUNDS = 6
ROUND_SECONDS = 10.0  # a model slower than this for all answers is too slow anyhow
_WARM_UP = 5


@dataclass(frozen=True)
class Latency:
    """The best of `rounds`: percentiles, in milliseconds, of the answer times of `answers` single rows."""

    p99_ms: float
    median_ms: float
    answers: int
    rounds: int

    def require(self, p99_ms: float) -> None:
        """Raise RuntimeError if the 99th percentile is above `p99_ms`."""
        if self.p99_ms > p99_ms:
            raise RuntimeError(
                f"too slow: p99 of {self.answers} single-row answers is {self.p99_ms:.1f} ms in the best of "
                f"{self.rounds} rounds (median {self.median_ms:.1f} ms); at most {p99_ms:g} ms is allowed "
                "(serving.slo.p99_ms)"
            )


def measure(
    model: str,
    version: str,
    settings: Settings,
    rows: Sequence[Mapping[str, Any]],
    enough_ms: float,
    answers: int = ANSWERS,
    rounds: int = ROUNDS,
) -> Latency:
    """Ask the model for one row after another, unlogged, and return how long answers took.

    Up to `rounds` rounds, until the p99 is at most `enough_ms`: what else runs on the machine only makes it slower.
    `rows` give the request's fields by name (none: all missing). Raises what the client raises, and RuntimeError if
    another version answers.
    """
    client = HeadwaterClient.of(settings, CALL_SECONDS, probe=version)
    try:
        requests = _requests(rows, client.fields(model))
        _round(client, model, version, requests, _WARM_UP)
        best = None
        for number in range(1, rounds + 1):
            taken = _round(client, model, version, requests, answers)
            p99, median = np.percentile(taken, [99, 50], method="higher")
            if best is None or p99 < best.p99_ms:
                best = Latency(float(p99), float(median), len(taken), number)
            if best.p99_ms <= enough_ms:
                break
        assert best is not None
        return Latency(best.p99_ms, best.median_ms, best.answers, number)
    finally:
        client.close()


def _requests(rows: Sequence[Mapping[str, Any]], fields: Iterable[str]) -> list[dict[str, Any]]:
    return [{name: row.get(name) for name in fields} for row in rows] or [dict.fromkeys(fields)]


def _round(
    client: HeadwaterClient, model: str, version: str, requests: Sequence[Mapping[str, Any]], answers: int
) -> list[float]:
    """Return the answer times in milliseconds, of fewer than `answers` if the round's time is over."""
    taken: list[float] = []
    until = time.monotonic() + ROUND_SECONDS
    for row in islice(cycle(requests), answers):
        started = time.perf_counter()
        (answer,) = client.predict(model, [row])
        taken.append((time.perf_counter() - started) * 1e3)
        if answer.model_version != version:
            raise RuntimeError(f"version {answer.model_version} answers in place of version {version}")
        if time.monotonic() > until:
            break
    return taken
