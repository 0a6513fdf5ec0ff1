"""How far answers are given where the model learned next to nothing: values outside of what its training rows hold.

A model extrapolates there, and no label has to come for one to see it. Not here: how a distribution moved within what
was learned (`checks/drift.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from checks.outcome import Outcome

CHECK = "novelty"
CENTRAL = 0.99
SHOWN = 8


@dataclass(frozen=True)
class Known:
    """What a version learned of a feature: the range of the central 99% of its rows, or the names it met."""

    low: float | None = None
    high: float | None = None
    names: frozenset[str] = frozenset()


def known_from(rows: pl.DataFrame, columns: Sequence[str]) -> dict[str, Known]:
    """Return what training rows [N] hold of each of `columns`; one without any value is left out."""
    found = {}
    for column in columns:
        values = rows[column].drop_nulls()
        if values.is_empty():
            continue
        if values.dtype.is_numeric():
            low, high = (values.quantile(q, "nearest") for q in ((1 - CENTRAL) / 2, (1 + CENTRAL) / 2))
            found[column] = Known(low, high)
        else:
            found[column] = Known(names=frozenset(values.cast(pl.String).unique()))
    return found


def novel_shares(known: Mapping[str, Known], served: pl.DataFrame) -> dict[str, float]:
    """Return for each feature the share of served rows [N] whose value is outside of what is known, most first."""
    shares = {column: _share(what, served[column]) for column, what in known.items() if column in served.columns}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def check_novelty(known: Mapping[str, Known], served: pl.DataFrame, bound: float) -> Outcome:
    """Fail if one feature is new in at least `bound` of the rows served [N]."""
    shares = novel_shares(known, served)
    table = tuple(_line(column, known[column], served[column], share) for column, share in shares.items())[:SHOWN]
    broken = [line for line in table if float(line["share"]) >= bound]
    told = "; ".join(f"{line['feature']}: {line['share']:.0%} of answers outside {line['known']}" for line in broken)
    summary = told or f"no feature is new in {bound:.0%} of {served.height} answers"
    evidence: dict[str, Any] = {"rows": served.height, "bound": bound, "shares": dict(list(shares.items())[:SHOWN])}
    return Outcome(not broken, summary, evidence, table)


def _share(known: Known, values: pl.Series) -> float:
    there = values.drop_nulls()
    if values.is_empty() or there.is_empty():
        return 0.0
    if known.low is None:
        outside = ~there.cast(pl.String).is_in(list(known.names))
    else:
        outside = (there < known.low) | (there > known.high)
    return float(outside.sum()) / len(values)


def _line(column: str, known: Known, values: pl.Series, share: float) -> dict[str, Any]:
    span = f"{len(known.names)} names" if known.low is None else f"{known.low:.4g} to {known.high:.4g}"
    served = values.drop_nulls()
    is_number = known.low is not None and not served.is_empty()
    now = f"mean {served.cast(pl.Float64).to_numpy().mean():.4g}" if is_number else f"{served.n_unique()} names"
    return {"feature": column, "share": round(share, 4), "known": span, "served": now}
