"""What the parity check asks for: moments of the past, and entity rows as requests would bring them. Seeded.

Reading is in `parity`, comparing in `parity_comparison`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise

import numpy as np
import polars as pl

from ml.feature_views import FeatureView

UNKNOWN_SHARE = 0.02
NULL_SHARE = 0.01


def draw_moments(times: pl.Series, count: int, seed: int) -> list[datetime]:
    """Return one of `times` (instants) from each of `count` equal parts in their order, ascending and distinct."""
    ordered = times.drop_nulls().sort()
    if ordered.is_empty():
        raise ValueError(f"column {times.name!r} has no instant to draw moments from; give rows with times")
    random = np.random.default_rng(seed)
    edges = np.linspace(0, len(ordered), count + 1).astype(int)
    drawn = {ordered[int(random.integers(low, high))] for low, high in pairwise(edges) if low < high}
    return sorted(drawn)


def draw_entities(
    views: Sequence[FeatureView], histories: Mapping[str, pl.LazyFrame], count: int, seed: int
) -> pl.DataFrame:
    """Return rows with a value of every join key of the views, drawn with repetition from their histories.

    Args:
        views: The views that are to be read together.
        histories: All versions of the rows of each view, by its name.
        count: Rows.
        seed: The same seed and histories give the same rows.

    Returns:
        [count, join keys]. A composite key is one that its view has in every other row, else a chance combination;
        a few values are null and a few no entity's.
    """
    random = np.random.default_rng(seed)
    known = {view.name: _keys(view, histories[view.name]) for view in views}
    columns = {name: _drawn(pool, count, random) for name, pool in sorted(_pools(views, known).items())}
    rows = pl.DataFrame(columns)
    for view in views:
        if len(view.join_keys) > 1 and known[view.name].height:
            whole = known[view.name][random.integers(0, known[view.name].height, count)]
            even = pl.Series(np.arange(count) % 2 == 0)
            rows = rows.with_columns(whole[key].zip_with(even, rows[key]).alias(key) for key in view.join_keys)
    return rows.select(_spoiled(rows[name], random) for name in rows.columns)


def _keys(view: FeatureView, history: pl.LazyFrame) -> pl.DataFrame:
    return history.select(view.join_keys).drop_nulls().unique().sort(*view.join_keys).collect()


def _pools(views: Sequence[FeatureView], known: Mapping[str, pl.DataFrame]) -> dict[str, pl.Series]:
    """Return the values that each join key has in any view."""
    parts: dict[str, list[pl.Series]] = {}
    for view in views:
        for key in view.join_keys:
            parts.setdefault(key, []).append(known[view.name][key])
    return {key: pl.concat(found).unique().sort() for key, found in parts.items()}


def _drawn(pool: pl.Series, count: int, random: np.random.Generator) -> pl.Series:
    if pool.is_empty():
        return pl.Series(pool.name, [None] * count, dtype=pool.dtype)
    return pool[random.integers(0, len(pool), count)]


def _spoiled(keys: pl.Series, random: np.random.Generator) -> pl.Series:
    """Make a few keys null, and a few such as no entity has."""
    chance = random.random(len(keys))
    column = pl.col(keys.name)
    beyond = pl.lit("no such ") + column if keys.dtype == pl.String else column + column.max() - column.min() + 1
    unknown = keys.to_frame().select(beyond.alias(keys.name)).to_series()
    keys = unknown.zip_with(pl.Series(chance < UNKNOWN_SHARE), keys)
    return keys.set(pl.Series(chance > 1 - NULL_SHARE), None)
