"""What holds without exception, or nearly: columns in order, sums of columns, clock times that agree.

They are found in one partition and tried on the next; a statistic is the share of rows that are exceptions. Rules are
found with no knowledge of the table; those that held by chance have the margins of the first months to show it in.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from checks.history_statistic import Statistic
from checks.history_views import AT_LEAST, CLOCK, DAY, SPAN, Views, nameable

HELD = 0.05  # an order or sum with fewer exceptions is worth keeping
SAMPLE, QUICK = 400, 60
MINUTES = 1440


@dataclass(frozen=True)
class Exact:
    """Rules of one partition: the share of exceptions by rule's name, and the constants of the sums."""

    orders: dict[str, Statistic]
    sums: dict[str, Statistic]
    constants: dict[str, Statistic]


class Exceptions:
    """Finds exact rules in a partition and tells which rows are exceptions to one."""

    def __init__(self, views: Views) -> None:
        self.views = views
        self.sample = np.random.default_rng(0).permutation(views.height)[: SAMPLE * 10]
        self.numbers = {n: v for n, v in views.numbers.items() if n in views.quantiles and n not in views.instants}
        self.numbers = {n: v for n, v in self.numbers.items() if nameable(n)}
        self.numbers |= {n: hours * 60 for n, hours in views.differences.items() if np.isfinite(hours).any()}
        self.clocks = {n: v for n, v in _clocks(views) if nameable(n)}

    def found(self, wanted: Iterable[str] = ()) -> Exact:
        """Return the rules found here, and the standing here of rules `wanted` because they held before."""
        wanted = list(wanted)
        orders = self._orders([w for w in wanted if AT_LEAST in w])
        sums, constants = self._sums([w for w in wanted if AT_LEAST not in w])
        return Exact(orders, sums, constants)

    def rows(self, rule: str) -> np.ndarray:
        """Return which rows are exceptions to a rule: booleans, in the order of the views' frame."""
        if AT_LEAST in rule:
            a, b = rule.split(AT_LEAST)
            return self.numbers[a] < self.numbers[b]
        residual = self._residual(rule)
        if residual is None:
            return np.zeros(self.views.height, dtype=bool)
        return self._exceptions(rule, residual)[0]

    # One column never below another.

    def _orders(self, wanted: Sequence[str]) -> dict[str, Statistic]:
        """Only orders whose columns touch, being equal at several values: else the gap is an accident of the season."""
        found = {}
        for a, b in combinations(self.numbers, 2):
            x, y = self.numbers[a], self.numbers[b]
            if not _overlap(x, y, self.sample):
                continue
            known, touching = np.count_nonzero(~np.isnan(x + y)), x[x == y]
            if known < SAMPLE or touching.size < 0.002 * known or np.unique(touching).size < 5:
                continue
            for rule, exceptions in ((f"{a}{AT_LEAST}{b}", x < y), (f"{b}{AT_LEAST}{a}", y < x)):
                share = np.count_nonzero(exceptions) / known
                if share < HELD:
                    found[rule] = Statistic(share)
        for rule in wanted:
            a, b = rule.split(AT_LEAST)
            if rule not in found and a in self.numbers and b in self.numbers:
                known = np.count_nonzero(~np.isnan(self.numbers[a] + self.numbers[b]))
                found[rule] = Statistic(np.count_nonzero(self.numbers[a] < self.numbers[b]) / max(int(known), 1))
        return found

    # Sums of columns that are constant, and clock times that differ by a column or a constant.

    def _sums(self, wanted: Sequence[str]) -> tuple[dict[str, Statistic], dict[str, Statistic]]:
        found, constants = {}, {}
        for rule in dict.fromkeys([*self._candidates(), *wanted]):
            residual = self._residual(rule)
            if residual is None and self._lost_its_clock(rule):
                found[rule] = Statistic(1.0)
            if residual is None or np.count_nonzero(np.isfinite(residual)) < SAMPLE / 4:
                continue
            exceptions, constant = self._exceptions(rule, residual)
            share = np.count_nonzero(exceptions) / max(int(np.count_nonzero(np.isfinite(residual))), 1)
            if share < HELD or rule in wanted:
                found[rule] = Statistic(share)
                constants[rule] = Statistic(constant, unit=self._unit(rule, constant))
        return found, constants

    def _lost_its_clock(self, rule: str) -> bool:
        """Whether a rule cannot be tried as a number no longer reads as a clock: no row keeps it then."""
        names = [name for _, name in _terms(rule.removesuffix(CLOCK))]
        return all(name in self.views.quantiles or name in self.numbers for name in names)

    def _unit(self, rule: str, constant: float) -> float:
        """What a constant may move by: over an hour where clocks change, else nothing to speak of."""
        if CLOCK not in rule:
            return max(abs(constant) * 0.1, 1e-6)
        return 130.0 if self._clocks_change(rule) else 5.0

    def _clocks_change(self, rule: str) -> bool:
        """Whether a rule compares a wall clock with an instant, so that it moves by an hour twice a year."""
        zoned = [n for n in self.views.instants if getattr(self.views.frame[n].dtype, "time_zone", None)]
        sides = [name for _, name in _terms(rule.removesuffix(CLOCK))[:2]]
        return any(n in self.views.instants for n in sides) and not all(n in zoned for n in sides)

    def _exceptions(self, rule: str, residual: np.ndarray) -> tuple[np.ndarray, float]:
        """Return which rows do not have the rule's constant, and the constant."""
        exceptions, constant = _off(residual)
        if CLOCK in rule and self._clocks_change(rule):
            exceptions = _off_the_day(residual, self.views.day)
        return exceptions, constant

    def _candidates(self) -> Iterator[str]:
        numbers = {n: v[self.sample[:SAMPLE]] for n, v in self.numbers.items() if _varies(v[self.sample[:SAMPLE]])}
        yield from _linear(numbers)
        clocks = {n: v[self.sample[:SAMPLE]] for n, v in self.clocks.items()}
        for a, b in combinations(clocks, 2):
            ahead = _wrapped(clocks[a] - clocks[b])
            if _settled(ahead):
                yield f"{a} - {b}{CLOCK}"
                continue
            for name, values in numbers.items():
                for sign, mark in ((1, "-"), (-1, "+")):
                    if name not in (a, b) and SPAN not in name and _settled(_wrapped(ahead - sign * values)):
                        yield f"{a} - {b} {mark} {name}{CLOCK}"

    def _residual(self, rule: str) -> np.ndarray | None:
        clock = CLOCK in rule
        left, right, *rest = _terms(rule.removesuffix(CLOCK))
        first = self.clocks if clock else self.numbers
        total = np.zeros(self.views.height)
        for factor, name in (left, right):
            if name not in first:
                return None
            total = total + factor * first[name]
        for factor, name in rest:
            if name not in self.numbers:
                return None
            total = total + factor * self.numbers[name]
        return _wrapped(total) if clock else total


def _terms(rule: str) -> list[tuple[float, str]]:
    """Read "100 * a + b - c" as factors and names. Names hold no " + ", " - " or " * "."""
    terms, sign, text = [], 1.0, rule
    while text:
        cuts = [(text.index(mark), mark) for mark in (" + ", " - ") if mark in text]
        end, mark = min(cuts) if cuts else (len(text), "")
        factor, name = text[:end].split(" * ") if " * " in text[:end] else ("1", text[:end])
        terms.append((sign * float(factor), name))
        sign, text = (-1.0 if mark == " - " else 1.0), text[end + len(mark) :]
    return terms


def _linear(numbers: dict[str, np.ndarray]) -> Iterator[str]:
    """Sums that are constant on a sample: a - b, a - b - c, 100 a + b - c and the like."""
    names = list(numbers)
    for a, b in combinations(names, 2):
        if not (SPAN in a and SPAN in b) and _settled(numbers[a] - numbers[b]):
            yield f"{a} - {b}"
    few = np.stack([v[:QUICK] for v in numbers.values()]) if names else np.zeros((0, QUICK))
    for a, b in permutations(names, 2):
        for factor in (1, 60, 100):
            if factor == 1 and a > b:
                continue
            likely = _likely(factor * numbers[a][:QUICK] + numbers[b][:QUICK] - few)
            for c in (names[i] for i in np.flatnonzero(likely)):
                alone = c not in (a, b) and sum(SPAN in n for n in (a, b, c)) < 2
                if alone and _settled(factor * numbers[a] + numbers[b] - numbers[c]):
                    yield f"{'' if factor == 1 else f'{factor} * '}{a} + {b} - {c}"


def _likely(residuals: np.ndarray) -> np.ndarray:
    """Which rows of residuals are worth a closer look: at least half of their known steps are nil."""
    steps = np.abs(np.diff(residuals, axis=1))
    return np.count_nonzero(steps < 1e-6, axis=1) >= 0.5 * np.maximum(np.isfinite(steps).sum(axis=1), 1)


def _clocks(views: Views) -> Iterator[tuple[str, np.ndarray]]:
    """Minutes after midnight: of instants, of numbers that read as HHMM, of small numbers that read as hours."""
    for name, values in views.numbers.items():
        ordered = views.sorted[name]
        if not ordered.size or views.distinct[name].size < 10:
            continue
        whole = views.frame[name].dtype.is_integer()
        if name in views.instants:
            yield name, (values % DAY) * 60
        elif whole and _mostly((ordered >= 0) & (ordered <= 24)):
            yield name, values * 60
        elif whole and _mostly((ordered >= 0) & (ordered <= 2400) & (ordered % 100 < 60)) and np.median(ordered) > 100:
            yield name, values // 100 * 60 + values % 100


def _mostly(fits: np.ndarray) -> bool:
    """A few faulty values must not hide what a column is: they are what is looked for."""
    return bool(fits.mean() > 0.85)


def _overlap(x: np.ndarray, y: np.ndarray, sample: np.ndarray) -> bool:
    """Whether two columns share enough of their range for an order between them to say something."""
    x, y = x[sample], y[sample]
    known = ~(np.isnan(x) | np.isnan(y))
    if np.count_nonzero(known) < SAMPLE / 4:
        return False
    x, y = np.sort(x[known]), np.sort(y[known])
    low, high = int(0.05 * x.size), int(0.95 * x.size)
    return bool(x[low] < y[high] and y[low] < x[high])


def _varies(values: np.ndarray) -> bool:
    known = values[np.isfinite(values)]
    return known.size >= SAMPLE / 8 and np.unique(known).size >= 5


def _settled(residual: np.ndarray) -> bool:
    """Whether a residual is the same in nearly all rows: it equals its successor in a random order."""
    known = residual[np.isfinite(residual)]
    if known.size < SAMPLE / 8:
        return False
    return bool(np.count_nonzero(np.abs(np.diff(known)) < 1e-6) > 0.75 * (known.size - 1))


def _wrapped(minutes: np.ndarray) -> np.ndarray:
    """Minutes around the clock, from -720 up to 720."""
    return (minutes + MINUTES / 2) % MINUTES - MINUTES / 2


def _off(residual: np.ndarray) -> tuple[np.ndarray, float]:
    """Return which rows differ from the commonest residual, and that residual."""
    rounded = np.round(residual, 4)
    known = rounded[np.isfinite(rounded)]
    if not known.size:
        return np.zeros(residual.size, dtype=bool), 0.0
    kinds, counts = np.unique(known, return_counts=True)
    constant = float(kinds[counts.argmax()])
    return np.isfinite(rounded) & (rounded != constant), constant


def _off_the_day(residual: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Return which rows differ from the commonest residual of their day, or of a day beside it.

    Wall clocks move by an hour twice a year: a day's residual may be an hour from the partition's, no more.
    """
    exceptions, constant = _off(residual)
    if np.count_nonzero(exceptions) < 0.001 * residual.size:
        return exceptions
    usual = {int(d): _off(residual[day == d])[1] for d in np.unique(day)}
    usual = {d: c for d, c in usual.items() if abs(c - constant) in (0, 60)}
    rounded = np.round(residual, 4)
    for near in (-1, 0, 1):
        expected = np.array([usual.get(d + near, constant) for d in range(int(day.max(initial=0)) + 1)])
        exceptions &= rounded != expected[day]
    return exceptions
