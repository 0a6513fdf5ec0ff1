"""What a partition's columns look like one by one, and how many rows it has: rules of volume, values and text.

Each function returns the statistics of some rules: {rule: {subject: Statistic}}. How far a statistic may move is in
`history_bounds`; statistics of two columns and more are in `history_relations`.
"""

from collections.abc import Collection

import numpy as np
import polars as pl

from checks.history_statistic import Statistic, Statistics, mean_of, spread_error, trimmed
from checks.history_views import DAY, QUANTILES, Views

LISTED = 400  # a text column with more values is not read as categories
LOOKS = 100  # a text column that looks more different is free text
SQUASH = 3.0
STEPS = " in steps of "
SKEWED = {rule: f"{rule} of a skewed column" for rule in ("level", "spread", "mean")}
SHAPES = {
    "upper case": r"[A-Z]",
    "lower case": r"[a-z]",
    "digits": r"[0-9]",
    "spaces": r"\s",
    "non-ASCII": r"[^\x00-\x7F]",
    "punctuation": r"[!-/:-@\[-`{-~]",
    "a space at an end": r"^\s|\s$",
}


def volume(views: Views) -> Statistics:
    """Rows, days, entities and duplicates."""
    counts = {"rows": views.height}
    if views.entity.any():
        counts["entities"] = int(np.unique(views.entity).size)
    found: Statistics = {"volume": {name: Statistic(float(n)) for name, n in counts.items()}}
    if views.time is not None and views.partition:
        found |= _days(views)
    return found


def values(views: Views) -> Statistics:
    """Each column: nulls, distinct values, quantiles, spread, special values; instants within the month."""
    found: Statistics = {
        "nulls": {n: Statistic(views.nulls[n].mean() if n in views.nulls else 0.0) for n in views.names},
        "distinct": {n: Statistic(float(views.distinct[n].size)) for n in views.plain}
        | {n: Statistic(float(len(v))) for n, (_, v) in views.text_codes.items()},
        "level": {},
        SKEWED["level"]: {},
        "special values": {},
        "repeated values": {},
        "instants": {},
    }
    for name in views.quantiles:
        if name in views.instants:
            found["instants"] |= _instant(views, name)
        else:
            _number(views, name, found)
    return found


def texts(views: Views) -> Statistics:
    """Each text column: shares of its categories and of what they look like (N9999A), length, kinds of characters."""
    found: Statistics = {"categories": {}, "looks": {}, "text": {}, "text length": {}}
    for name, (codes, kinds) in views.text_codes.items():
        counts = np.bincount(codes, minlength=len(kinds) + 1)[: len(kinds)]
        total = max(counts.sum(), 1)
        if len(kinds) <= LISTED:
            for kind, count in zip(kinds, counts, strict=True):
                found["categories"][f"{name} = {kind}"] = Statistic(float(count / total))
        words = pl.Series("w", kinds, dtype=pl.String)
        for shape, pattern in SHAPES.items():
            share = float(counts[words.str.contains(pattern).to_numpy()].sum() / total) if len(kinds) else 0.0
            found["text"][f"{name}: {shape}"] = Statistic(share)
        looks = words.str.replace_all("[A-Z]", "A").str.replace_all("[a-z]", "a").str.replace_all("[0-9]", "9")
        rows = pl.DataFrame({"look": looks, "rows": counts}).group_by("look").agg(pl.col("rows").sum()).sort("look")
        if rows.height <= LOOKS:
            for look, count in rows.iter_rows():
                found["looks"][f"{name} = {look}"] = Statistic(count / total)
        lengths = words.str.len_chars().cast(pl.Float64).to_numpy()
        mean = float(counts @ lengths / total) if len(kinds) else 0.0
        deviation = float(np.sqrt(counts @ (lengths - mean) ** 2 / total)) if len(kinds) else 0.0
        found["text length"][name] = Statistic(mean, unit=max(deviation, 0.5))
    return found


def moments(views: Views) -> Statistics:
    """Mean and standard deviation of each number, its tails cut at 1% and 99%."""
    found: Statistics = {rule: {} for rule in ("mean", "spread", SKEWED["mean"], SKEWED["spread"])}
    for name in views.plain:
        if name in views.quantiles:
            values, block = trimmed(views, name)
            found["mean"][name] = found[SKEWED["mean"]][name] = mean_of(views, name)
            deviation = float(values.std()) or float(np.nanstd(views.numbers[name]))
            if deviation > 0:
                spread = Statistic(deviation, spread_error(values, block))
                found["spread"][name] = found[SKEWED["spread"]][name] = spread
    return found


def squashed(views: Views, name: str) -> np.ndarray:
    """A column in units of half its middle 90% from its median, cut at three: shape (rows,), NaN for null."""
    low, middle, high = (views.quantiles[name][QUANTILES.index(q)] for q in (0.05, 0.5, 0.95))
    unit = (high - low) / 2 or float(np.nanstd(views.numbers[name])) or 1.0
    return np.clip((views.numbers[name] - middle) / unit, -SQUASH, SQUASH)


def is_skewed(quantiles: np.ndarray) -> bool:
    """Whether a column is never negative and its upper half is over three times as wide as its lower."""
    low, middle, high = quantiles[1], quantiles[3], quantiles[-2]
    few = quantiles[-1] <= 20 and not (quantiles % 1).any()
    return bool(quantiles[0] >= 0 and quantiles[-1] > 0 and not few and high - middle >= 3 * (middle - low))


def _number(views: Views, name: str, found: Statistics) -> None:
    ordered, quantiles = views.sorted[name], views.quantiles[name]
    step = 2.0 if views.frame[name].dtype.is_integer() else 0.0
    unit = max(quantiles[-2] - quantiles[1], quantiles[-1] - quantiles[0]) / 2 or abs(float(quantiles[3])) * 0.1
    error = mean_of(views, name).error
    roots = np.sqrt(np.maximum(quantiles, 0))
    root = ((roots[-2] - roots[1]) / 2 or (roots[-1] - roots[0]) / 2) ** 2
    for q, value in zip(QUANTILES, quantiles, strict=True):
        tail = 1.5 if q in (QUANTILES[0], QUANTILES[-1]) else 1.0
        found["level"][f"{name} at {q:.0%}"] = Statistic(float(value), error, max(float(unit), step, 1e-9) * tail)
        found[SKEWED["level"]][f"{name} at {q:.0%}"] = Statistic(float(value), unit=max(float(root), step, 1e-9) * tail)
    n = ordered.size
    runs = np.diff(np.concatenate([np.searchsorted(ordered, views.distinct[name]), [n]]))
    special = {
        "zero": np.searchsorted(ordered, 0, "right") - np.searchsorted(ordered, 0, "left"),
        "negative": np.searchsorted(ordered, 0, "left"),
        "most frequent but zero": runs[views.distinct[name] != 0].max(initial=0),
        "divisible by 10": np.count_nonzero((ordered % 10 == 0) & (ordered != 0)),
        "fractional": np.count_nonzero(ordered % 1),
        "beyond two decimals": np.count_nonzero(np.abs(ordered * 100 - np.round(ordered * 100)) > 1e-6),
    }
    for kind, count in special.items():
        rule = "repeated values" if kind in ("most frequent but zero", "divisible by 10") else "special values"
        found[rule][f"{name}: {kind}"] = Statistic(float(count / n))


def _instant(views: Views, name: str) -> dict[str, Statistic]:
    """An instant's place: hours from the month's start for its early values, from its end for late ones."""
    ordered, hours = views.sorted[name], views.hours
    if not views.partition:
        return {}
    quantiles = dict(zip(QUANTILES, views.quantiles[name], strict=True))
    places = {
        "first": ordered[0],
        "1%": quantiles[0.01],
        "median": quantiles[0.5] - hours / 2,
        "99%": quantiles[0.99] - hours,
        "last": ordered[-1] - hours,
    }
    units = {"first": 3 * DAY, "1%": 2.5 * DAY, "median": 2 * DAY, "99%": 2.5 * DAY, "last": 3 * DAY}
    return {f"{name}: {place}, hours": Statistic(float(v), unit=units[place]) for place, v in places.items()}


def clockwork(views: Views) -> Statistics:
    """Each instant's time of day, as the mean of its sine and cosine, and the share of rows outside of the month."""
    found: Statistics = {"time of day": {}, "outside the month": {}}
    for name in views.instants:
        hours = views.sorted[name]
        if views.partition and hours.size:
            angle = hours * (2 * np.pi / DAY)
            found["time of day"][f"{name} (sine)"] = Statistic(float(np.sin(angle).mean()))
            found["time of day"][f"{name} (cosine)"] = Statistic(float(np.cos(angle).mean()))
            outside = np.count_nonzero((hours < 0) | (hours >= views.hours)) / hours.size
            found["outside the month"][name] = Statistic(outside)
    return found


def spans(views: Views) -> dict[str, Statistic]:
    """Median and tails of the hours from the partition's main instant to each other instant."""
    found: dict[str, Statistic] = {}
    for name, hours in views.differences.items():
        known = np.sort(hours[np.isfinite(hours)])
        if known.size:
            low, middle, high = known[[int(q * (known.size - 1)) for q in (0.05, 0.5, 0.95)]]
            unit = max(float(high - low) / 2, 0.5)
            places = (("5%", low), ("median", middle), ("95%", high))
            found |= {f"{name} at {place}": Statistic(float(v), unit=unit) for place, v in places}
    return found


def steps(views: Views, wanted: Collection[str]) -> dict[str, Statistic]:
    """Share of numbers that are no multiples of 1 or 0.01, of columns that have only such, or once had (`wanted`)."""
    found = {}
    for name in (n for n in views.plain if views.sorted[n].size):
        for step in (1, 0.01):
            scaled = views.sorted[name] / step
            share = float((np.abs(scaled - np.round(scaled)) > 1e-6).mean())
            if share == 0 or f"{name}{STEPS}{step}" in wanted:
                found[f"{name}{STEPS}{step}"] = Statistic(share)
    return found


def calendar(views: Views, wanted: Collection[str]) -> dict[str, Statistic]:
    """Share of rows in which a number is the partition's year or month, where it nearly always is or once was."""
    found = {}
    for part, value in views.parts.items():
        for name in views.plain:
            rule = f"{name} is the {part}"
            share = float((views.numbers[name] + views.shift.get(name, 0) == value).mean())
            if share > 0.98 or rule in wanted:
                found[rule] = Statistic(share)
    return found


def _days(views: Views) -> Statistics:
    """Days with rows, gaps, and the fewest and most rows of a whole day against the median day."""
    counts = np.bincount(views.day)
    usual = max(float(np.median(counts[counts > 0])), 1.0)
    inside = counts[1:-1] if counts.size > 2 else counts
    span = counts.size * DAY / views.hours if views.hours else 1.0
    return {
        "days": {
            "span of days, share of the month": Statistic(float(span)),
            "days without rows": Statistic(float((inside == 0).sum()), unit=max(200 / usual, 1.0)),
        },
        "rows a day": {
            "fewest, of the median day": Statistic(float(inside.min() / usual)),
            "most, of the median day": Statistic(float(counts.max() / usual)),
            "median day": Statistic(usual),
        },
    }
