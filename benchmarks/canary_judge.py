"""How often the canary's judge errs when it is looked at after every row, and after how many rows it finds a fault.

Against a test of a fixed number of rows at the same alpha, looked at as often. The ratio is its false alarms over ours.
"""

import time

import numpy as np

from benchmarks.report import conclude
from checks.canary import judge_canary
from checks.canary_rows import Seen
from checks.sequential import margin, mean_and_spread, rate_evidence
from ml.serving_settings import CanaryBounds

SEQUENCES, ROWS, FIRST, ALPHA = 1000, 5000, 100, 0.05
TRIALS, LOOK = 10, 100
FAULTS: dict[str, dict[str, float]] = {
    "none (rows until promoted)": {},
    "fails on 5% of rows": {"failing": 0.05},
    "fails on 2% of rows": {"failing": 0.02},
    "three times as slow": {"slower": 3.0},
    "answers 0.1 higher": {"shift": 0.1},
    "answers with noise of 0.2": {"noise": 0.2},
}


def main() -> None:
    """Measure and print."""
    started = time.perf_counter()
    random = np.random.default_rng(1)
    alarms = {name: false_alarms(random, name) for name in ("normal", "exponential", "one in fifty")}
    print(f"{SEQUENCES} sequences of {ROWS} rows at the bound, a look after each from {FIRST} on, alpha {ALPHA}")
    for name, (ours, fixed) in alarms.items():
        print(f"{name:<28} ours {ours:6.1%}   fixed-time test {fixed:6.1%}")
    ours = _faults_at_bound(random)
    print(f"{'fault rate at its bound':<28} ours {ours:6.1%}")
    for name, fault in FAULTS.items():
        print(f"{name:<28} {_told([decided(seed, **fault) for seed in range(TRIALS)])}")
    worst = max([ours, *(found[0] for found in alarms.values())])
    ratio = min(fixed for _, fixed in alarms.values()) / max(worst, 1 / SEQUENCES)
    seconds = round(time.perf_counter() - started, 1)
    conclude("canary_judge", ratio, 1.0, worst <= ALPHA, worst_false_alarms=round(worst, 4), seconds=seconds)


def false_alarms(random: np.random.Generator, kind: str) -> tuple[float, float]:
    """Return the share of sequences whose mean, at the bound, is ever said to be above it: ours, and a fixed test's."""
    shape = (SEQUENCES, ROWS)
    if kind == "one in fifty":
        values = (random.random(shape) < 0.02) - 0.02
    else:
        values = random.normal(size=shape) if kind == "normal" else random.exponential(size=shape) - 1
    rows = np.arange(1, ROWS + 1)
    mean, spread = mean_and_spread(values)
    tests = (margin(rows, ALPHA, FIRST), 1.645 / np.sqrt(rows))
    ours, fixed = (float((mean > spread * test)[:, FIRST - 1 :].any(axis=1).mean()) for test in tests)
    return ours, fixed


def _faults_at_bound(random: np.random.Generator) -> float:
    rows = np.arange(1, ROWS + 1)
    faults = np.cumsum(random.random((SEQUENCES, ROWS)) < 0.01, axis=1)
    found = (rate_evidence(faults, rows, 0.01) >= -np.log(ALPHA)) & (faults / rows > 0.01)
    return float(found.any(axis=1).mean())


def decided(
    seed: int, failing: float = 0.0, slower: float = 1.0, shift: float = 0.0, noise: float = 0.0
) -> tuple[str, int]:
    """Return the judge's first decision on a made-up canary, and after how many rows."""
    random, rows = np.random.default_rng(seed), ROWS
    truth = random.beta(2, 6, rows)
    champion = np.clip(truth + random.normal(0, 0.05, rows), 0.01, 0.99)
    canary = np.clip(truth + random.normal(0, 0.05 + noise, rows) + shift, 0.01, 0.99)
    label = random.random(rows) < truth
    losses = [-np.log(np.where(label, answer, 1 - answer)) for answer in (canary, champion)]
    times = np.log(slower) + random.normal(0, 0.6, rows)
    parts = [random.random(rows) < failing, times, canary, champion, *losses]
    for count in range(LOOK, rows + 1, LOOK):
        found = judge_canary(CanaryBounds(), Seen(*(part[:count] for part in parts)), 1.0)
        if found.decision != "continue":
            return found.decision, count
    return "continue", rows


def _told(found: list[tuple[str, int]]) -> str:
    decisions = {decision: sum(d == decision for d, _ in found) for decision, _ in found}
    counts = sorted(count for _, count in found)
    return f"{decisions}, rows: median {counts[len(counts) // 2]}, at most {counts[-1]}"
