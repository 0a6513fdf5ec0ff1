"""Shifts put into real weeks of answers: of features, of one slice, of one feature, of what happens. Seeded.

Each takes rows (training-set columns) and how far the shift has come, 0 to 1, and returns the rows as they would have
been. Labels stay but for the shifts of what happens.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from ml.spec import ModelSpec

Change = Callable[[pl.DataFrame, float], pl.DataFrame]
WARM = ("weather_observation__temp", "weather_observation__dewp")
LATE = ("aircraft_state__last_arr_delay", "destination_congestion__mean_arr_delay_3h")


@dataclass(frozen=True)
class Shift:
    """A named shift; a `gradual` one grows over four weeks."""

    name: str
    change: Change
    gradual: bool = False

    def applied(self, rows: pl.DataFrame, weeks: int) -> pl.DataFrame:
        """Return a week's rows, so many weeks after the shift began (0: its first)."""
        return self.change(rows, min(1.0, (weeks + 1) / 4) if self.gradual else 1.0)


def shifts(spec: ModelSpec) -> tuple[Shift, ...]:
    """Return the shifts that are tried on a model's rows; columns that it lacks are left alone."""
    label = spec.outcome.label
    return (
        Shift("features, sudden, strong: 40 F warmer", lambda r, s: _added(r, WARM, 40 * s)),
        Shift("features, sudden, mild: 15 F warmer", lambda r, s: _added(r, WARM, 15 * s)),
        Shift("features, gradual: 40 F warmer", lambda r, s: _added(r, WARM, 40 * s), gradual=True),
        Shift("one feature: temperatures in Celsius", lambda r, s: _celsius(r)),
        Shift("one feature: visibility missing", lambda r, s: _missing(r, "weather_observation__visib", s)),
        Shift("one slice: delays of EWR an hour more", lambda r, s: _added(r, LATE, 60 * s, pl.col("origin") == "EWR")),
        Shift("one slice: a carrier has a new name", lambda r, s: _renamed(r, "carrier", "UA", "U2")),
        Shift("what happens, sudden: 8% more are late", lambda r, s: _late(r, label, 0.08 * s)),
        Shift("what happens, sudden: 20% more are late", lambda r, s: _late(r, label, 0.20 * s)),
        Shift("what happens, gradual: 20% more are late", lambda r, s: _late(r, label, 0.20 * s), gradual=True),
        Shift("what happens: a third of the late is on time", lambda r, s: _on_time(r, label, s / 3)),
        Shift(
            "what happens, one slice: 40% more of JFK", lambda r, s: _late(r, label, 0.4 * s, pl.col("origin") == "JFK")
        ),
    )


def _added(rows: pl.DataFrame, names: tuple[str, ...], by: float, where: pl.Expr | None = None) -> pl.DataFrame:
    chosen = pl.lit(True) if where is None else where
    there = [name for name in names if name in rows.columns]
    return rows.with_columns(pl.when(chosen).then(pl.col(n) + by).otherwise(pl.col(n)).alias(n) for n in there)


def _celsius(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns((pl.col(WARM[0]) - 32) / 1.8)


def _missing(rows: pl.DataFrame, name: str, share: float) -> pl.DataFrame:
    gone = pl.Series(np.random.default_rng(rows.height).random(rows.height) < share)
    return rows.with_columns(pl.when(gone).then(None).otherwise(pl.col(name)).alias(name))


def _renamed(rows: pl.DataFrame, name: str, old: str, new: str) -> pl.DataFrame:
    return rows.with_columns(pl.col(name).replace(old, new))


def _late(rows: pl.DataFrame, label: str, share: float, where: pl.Expr | None = None) -> pl.DataFrame:
    drawn = pl.Series(np.random.default_rng(rows.height).random(rows.height) < share)
    chosen = drawn if where is None else where & drawn
    return rows.with_columns(pl.when(chosen).then(1).otherwise(pl.col(label)).cast(rows.schema[label]).alias(label))


def _on_time(rows: pl.DataFrame, label: str, share: float) -> pl.DataFrame:
    drawn = pl.Series(np.random.default_rng(rows.height).random(rows.height) < share)
    return rows.with_columns(pl.when(drawn).then(0).otherwise(pl.col(label)).cast(rows.schema[label]).alias(label))
