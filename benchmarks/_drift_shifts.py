"""Labelled pairs of columns: shifts that a drift check must see, and changes that are none. Seeded."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

ROWS = 20_000


@dataclass(frozen=True)
class Case:
    """A reference and a current column, and whether the world moved between them."""

    name: str
    moved: bool
    reference: pl.Series
    current: pl.Series


def cases() -> Iterator[Case]:
    """Yield all cases, shifts first."""
    random = np.random.default_rng(20130101)
    for moved, pairs in ((True, _shifts(random)), (False, _no_shifts(random))):
        for name, (old, new) in pairs.items():
            yield Case(name, moved, *(pl.Series("value", side, strict=False) for side in (old, new)))


def _shifts(random: np.random.Generator) -> dict[str, tuple[Any, Any]]:
    normal, skewed, again = random.normal(4, 1, ROWS), random.exponential(10, ROWS), random.exponential(10, ROWS)
    names, more = random.choice(list("ABCD"), ROWS, p=[0.4, 0.3, 0.2, 0.1]), random.normal(4, 1, ROWS)
    flag, counts, heavy = random.random(ROWS) < 0.3, random.poisson(5, ROWS), random.standard_t(2, ROWS)
    two_heaps = 4 + random.choice([-1, 1], ROWS) * 0.97 + random.normal(0, 0.24, ROWS)
    return {
        "mean up by half a deviation": (normal, more + 0.5),
        "mean down by 0.3 deviations": (normal, more - 0.3),
        "mean from 4.1 to 9.7": (normal + 0.1, more + 5.7),
        "spread times 1.5": (normal, 4 + (more - 4) * 1.5),
        "spread halved": (normal, 4 + (more - 4) * 0.5),
        "miles in place of kilometres": (skewed, again / 1.609),
        "signs flipped": (skewed, -again),
        "constant": (normal, np.full(ROWS, 4.0)),
        "a tenth is zero now": (normal, _some(more, 0.1, 0.0, random)),
        "a fifth is the default -1": (skewed, _some(again, 0.2, -1.0, random)),
        "outliers in a twentieth": (normal, np.where(random.random(ROWS) < 0.05, more * 20, more)),
        "capped at the 70th percentile": (skewed, np.minimum(again, np.quantile(again, 0.7))),
        "two heaps, same mean and deviation": (normal, two_heaps),
        "half replaced by zero under heavy tails": (heavy, np.where(random.random(ROWS) < 0.5, 0, heavy)),
        "another column's values": (skewed, more),
        "trend within the window": (normal, more + np.linspace(0, 1, ROWS)),
        "counts up by a third": (counts, random.poisson(6.7, ROWS)),
        "flag from 30% to 50%": (flag.astype(str), (random.random(ROWS) < 0.5).astype(str)),
        "0 and 1 from 30% to 50%": (flag.astype(int), (random.random(ROWS) < 0.5).astype(int)),
        "nulls from 0% to 12%": (normal, _missing(more, 0.12, random)),
        "nulls from 30% to 0%": (_missing(normal, 0.3, random), more),
        "not a number in 15%": (normal, np.where(random.random(ROWS) < 0.15, np.nan, more)),
        "every value null": (normal, pl.Series([None] * ROWS, dtype=pl.Float64)),
        "names gone in 20%": (names, _missing(names, 0.2, random)),
        "new category of 8%": (names, _some(names, 0.08, "X", random)),
        "category of 30% gone": (names, random.choice(list("ACD"), ROWS, p=[0.55, 0.3, 0.15])),
        "two categories swapped": (names, np.where(names == "A", "D", np.where(names == "D", "A", names))),
        "every name in lower case": (names, np.char.lower(names)),
        "category explosion": (names, np.array([f"{n}{i % 500}" for i, n in enumerate(names)])),
    }


def _no_shifts(random: np.random.Generator) -> dict[str, tuple[Any, Any]]:
    normal, skewed, heavy = random.normal(4, 1, ROWS), random.exponential(10, ROWS), random.standard_t(2, ROWS)
    names, counts = random.choice(list("ABCD"), ROWS, p=[0.4, 0.3, 0.2, 0.1]), random.poisson(5, ROWS)
    many, again = random.zipf(1.5, ROWS) % 400, random.zipf(1.5, ROWS) % 400
    return {
        "another draw": (normal, random.normal(4, 1, ROWS)),
        "another order": (normal, random.permutation(normal)),
        "noise of a hundredth": (normal, normal + random.normal(0, 0.01, ROWS)),
        "rounded to two digits": (normal, normal.round(2)),
        "drawn again with repeats": (skewed, random.choice(skewed, ROWS)),
        "half as many rows": (skewed, skewed[::2]),
        "another draw, skewed": (skewed, random.exponential(10, ROWS)),
        "another draw, heavy tails": (heavy, random.standard_t(2, ROWS)),
        "another draw, counts": (counts, random.poisson(5, ROWS)),
        "mean up by 0.02 deviations": (normal, random.normal(4.02, 1, ROWS)),
        "another draw, names": (names, random.choice(list("ABCD"), ROWS, p=[0.4, 0.3, 0.2, 0.1])),
        "names' shares one point apart": (names, random.choice(list("ABCD"), ROWS, p=[0.41, 0.29, 0.2, 0.1])),
        "new category of 0.3%": (names, _some(names, 0.003, "X", random)),
        "400 names, another draw": (many.astype(str), again.astype(str)),
        "nulls from 5.0% to 5.5%": (_missing(normal, 0.05, random), _missing(normal, 0.055, random)),
        "flag from 30% to 31%": ((random.random(ROWS) < 0.3).astype(str), (random.random(ROWS) < 0.31).astype(str)),
        "constant on both sides": (np.full(ROWS, 7.0), np.full(ROWS, 7.0)),
        "a hundred rows more": (normal, np.append(normal, random.normal(4, 1, 100))),
    }


def _some(values: NDArray[Any], share: float, value: Any, random: np.random.Generator) -> NDArray[Any]:
    return np.where(random.random(len(values)) < share, value, values)


def _missing(values: NDArray[Any], share: float, random: np.random.Generator) -> pl.Series:
    return pl.Series(values).set(pl.Series(random.random(len(values)) < share), None)
