"""How far a column may move before it counts as drifted, and which of these bounds a comparison breaks."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from checks.drift_statistics import Comparison

TITLES = {
    "distance": "distance",
    "ks": "KS",
    "psi": "PSI",
    "missing": "missing share",
    "appeared": "share of new values",
    "vanished": "share of values gone",
}


@dataclass(frozen=True)
class Bounds:
    """A column has drifted from one of these on; the whole has if a column did and at least `share` of them.

    `distance` is Wasserstein over the reference's standard deviation, or Jensen-Shannon; `missing` is a change of the
    share of rows without a value; `categories` a share of rows with values new, or gone.
    """

    distance: float
    share: float
    ks: float = 0.2
    psi: float = 0.25
    missing: float = 0.05
    categories: float = 0.05

    @classmethod
    def strictest(cls, several: Sequence["Bounds"]) -> "Bounds":
        """Return the least of each bound."""
        return cls(**{field.name: min(getattr(bounds, field.name) for bounds in several) for field in fields(cls)})


class Breach(NamedTuple):
    """A statistic that reached its bound. The bound of small samples is what chance reaches, if that is more."""

    statistic: str
    value: float
    bound: float

    @property
    def excess(self) -> float:
        """How many times the bound."""
        return self.value / self.bound if self.bound else float("inf")

    def __str__(self) -> str:
        return f"{TITLES[self.statistic]} {self.value:.2f} (bound {self.bound:.2g})"


def breaches(found: Comparison, bounds: Bounds) -> tuple[Breach, ...]:
    """Return the bounds that a comparison breaks, the worst first."""
    noise = found.noise
    judged = (
        Breach("distance", found.distance, max(bounds.distance, noise.distance)),
        Breach("ks", found.ks, max(bounds.ks, noise.ks)),
        Breach("psi", found.psi, max(bounds.psi, noise.psi)),
        Breach("missing", abs(found.now_missing - found.missing), max(bounds.missing, noise.missing)),
        Breach("appeared", found.appeared, bounds.categories + noise.appeared),
        Breach("vanished", found.vanished, bounds.categories + noise.vanished),
    )
    return tuple(sorted((b for b in judged if b.value >= b.bound), key=lambda b: -b.excess))
