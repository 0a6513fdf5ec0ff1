"""How far each statistic of a partition may move from the good ones before it. All thresholds of the check are here.

A statistic is read on a scale on which a month's noise is about as large everywhere (logarithm, logit, Fisher's z, or
units of the column). It may leave the range of the good months by

    (floor + range) x (1/2 + 3/2 / months) + 4 (of a mean 10) standard errors

so with one month by two floors, with six by three quarters of floor and range. The floors were set on January to June
2013, so that no month of these uses more than about 0.9 of a margin, judged by the months before it or by a single
neighbour; July to December were only judged.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from checks.history_statistic import Statistic, Statistics

ERRORS = 4.0
SURE = 0.998  # correlations beyond it are read alike
Scale = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Rule:
    """How a rule's statistics are read: their scale and its inverse, and by how much they may move on it.

    `lower` and `upper` say whether a statistic can be too low and too high.
    """

    scale: tuple[Scale, Scale]
    floor: float
    errors: float = ERRORS
    lower: bool = True
    upper: bool = True


def _log(x: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(x, 1e-9))


def _root(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.sqrt(np.abs(x))


def _square(y: np.ndarray) -> np.ndarray:
    return np.sign(y) * y**2


def _shares(least: float) -> tuple[Scale, Scale]:
    """The logit of a share, on which shares well below `least` look alike."""

    def logit(x: np.ndarray) -> np.ndarray:
        x = np.clip(x, 0, 1)
        return np.log((x + least) / (1 - x + least))

    def share(y: np.ndarray) -> np.ndarray:
        odds = np.exp(y)
        return np.clip((odds * (1 + least) - least) / (1 + odds), 0, 1)

    return logit, share


def _log_length(x: np.ndarray) -> np.ndarray:
    """The logarithm of a length, on which lengths well below four look alike."""
    return np.log(np.maximum(x, 0) + 4)


def _length(y: np.ndarray) -> np.ndarray:
    return np.exp(y) - 4


def _same(x: np.ndarray) -> np.ndarray:
    return x


def _fisher(x: np.ndarray) -> np.ndarray:
    return np.arctanh(np.clip(x, -SURE, SURE))


ROOT = (_root, _square)
ROUGH = _shares(0.01)
LENGTH = (_log_length, _length)
LOG, SHARE, PLAIN, FISHER = (_log, np.exp), _shares(0.002), (_same, _same), (_fisher, np.tanh)

RULES: Mapping[str, Rule] = {
    "volume": Rule(LOG, 0.25),
    "days": Rule(PLAIN, 0.11),
    "rows a day": Rule(LOG, 1.6),
    "repeats": Rule(SHARE, 1.9, lower=False),
    "nulls": Rule(SHARE, 1.0),
    "distinct": Rule(LOG, 0.7),
    "level": Rule(PLAIN, 0.8),
    "level of a skewed column": Rule(ROOT, 1.6),
    "mean": Rule(PLAIN, 0.1, errors=10.0),
    "mean of a skewed column": Rule(PLAIN, 0.5, errors=10.0),
    "spread": Rule(LOG, 0.4),
    "spread of a skewed column": Rule(LOG, 0.8),
    "special values": Rule(SHARE, 2.6),
    "repeated values": Rule(SHARE, 2.0),
    "steps": Rule(SHARE, 0.8, lower=False),
    "calendar": Rule(SHARE, 1.0, upper=False),
    "spans": Rule(PLAIN, 0.8),
    "instants": Rule(PLAIN, 1.0),
    "time of day": Rule(PLAIN, 0.15),
    "outside the month": Rule(SHARE, 1.2, lower=False),
    "categories": Rule(SHARE, 1.0),
    "looks": Rule(SHARE, 1.0),
    "text": Rule(SHARE, 0.8),
    "text length": Rule(PLAIN, 0.3),
    "correlation": Rule(FISHER, 0.25),
    "like its own row before": Rule(FISHER, 0.35),
    "like its row before in time": Rule(FISHER, 0.6),
    "equal to its own row before": Rule(SHARE, 2.0),
    "equal to its row before in time": Rule(SHARE, 2.0, lower=False),
    "far from its own row before": Rule(ROUGH, 0.8),
    "far from its row before in time": Rule(ROUGH, 1.6),
    "rhythm": Rule(ROUGH, 0.2, upper=False),
    "longest run": Rule(LENGTH, 1.0, lower=False),
    "difference": Rule(PLAIN, 0.8, errors=10.0),
    "ratio": Rule(PLAIN, 0.5, errors=10.0),
    "astray": Rule(ROUGH, 1.4),
    "nulls by day": Rule(SHARE, 3.0, lower=False),
    "nulls by category": Rule(SHARE, 1.3),
    "outliers": Rule(SHARE, 1.0, lower=False),
    "limits": Rule(SHARE, 1.2, lower=False),
    "seen before": Rule(ROUGH, 1.5, lower=False),
    "unseen categories": Rule(SHARE, 1.8, lower=False),
    "nulls together": Rule(SHARE, 1.0, lower=False),
    "pace": Rule(PLAIN, 0.1),
    "counts time": Rule(PLAIN, 0.3),
    "off the pace": Rule(SHARE, 1.0, lower=False),
    "by category": Rule(PLAIN, 0.3, errors=8.0),
    "labels": Rule(SHARE, 1.8, lower=False),
    "by day": Rule(PLAIN, 1.0),
    "dependency": Rule(SHARE, 1.0, lower=False),
    "order": Rule(SHARE, 1.0, lower=False),
    "sum": Rule(SHARE, 1.0, lower=False),
    "constant of a sum": Rule(PLAIN, 0.8),
}


@dataclass(frozen=True)
class Judged:
    """One statistic against its history: `use` is the part of its margin that it uses up; over 1 it is broken."""

    rule: str
    subject: str
    observed: float
    low: float
    high: float
    use: float
    months: int


def judge(now: Statistics, past: Sequence[Statistics], wider: float = 1.0) -> Iterator[Judged]:
    """Compare every statistic that at least one good partition has, with the range of those that have it."""
    for rule, statistics in now.items():
        subjects = [s for s in statistics if any(s in p.get(rule, ()) for p in past)]
        if subjects:
            yield from _judge_rule(rule, subjects, statistics, [p.get(rule, {}) for p in past], wider)


def _judge_rule(
    name: str, subjects: list[str], now: Mapping[str, Statistic], past: Sequence[Mapping[str, Statistic]], wider: float
) -> Iterator[Judged]:
    rule = RULES[name]
    absent = Statistic(np.nan, np.nan, np.nan)
    rows = [[p.get(s, absent) for s in subjects] for p in past]
    unit = np.nanmax([[x.unit for x in row] for row in rows], axis=0)
    scale, back = rule.scale
    before = scale(np.array([[x.value for x in row] for row in rows]) / unit)
    value = scale(np.array([now[s].value for s in subjects]) / unit)
    low, high, margin = _range(rule, before, np.array([[x.error for x in row] for row in rows]) / unit)
    margin = margin * wider
    use = np.maximum((value - high) * rule.upper, (low - value) * rule.lower) / margin
    bottom, top = back(low - margin) * unit, back(high + margin) * unit
    months = np.isfinite(before).sum(axis=0)
    for i, subject in enumerate(subjects):
        yield Judged(
            name,
            subject,
            now[subject].value,
            float(bottom[i]) if rule.lower else -np.inf,
            float(top[i]) if rule.upper else np.inf,
            max(float(use[i]), 0.0),
            int(months[i]),
        )


def _range(rule: Rule, before: np.ndarray, errors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return lowest, highest and margin of each statistic; arrays (months, statistics) in."""
    low, high = np.nanmin(before, axis=0), np.nanmax(before, axis=0)
    months = np.isfinite(before).sum(axis=0)
    error = np.nanmean(errors, axis=0)
    error = np.maximum(error, 0.5 * np.median(error))
    return low, high, (rule.floor + high - low) * (0.5 + 1.5 / months) + rule.errors * error
