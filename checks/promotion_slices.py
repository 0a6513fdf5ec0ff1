"""The promotion gate's rule on slices: on no declared part of the rows may the candidate lose beyond noise.

The champion's lead on a slice is judged by the upper end of a one-sided interval of the difference that holds for all
slices at once: refused only where even that end is below the bound, so that noise refuses nobody, however many slices
there are. Wide intervals would then let small slices off: values too rare for an interval are judged as one slice, and
those whose interval is wider than the bound are judged once more by their mean difference.
The simultaneous interval is the single-step maximum of studentised bootstrap differences: Westfall and Young,
Resampling-Based Multiple Testing, 1993, chapter 2; whole days are drawn, the same for every slice.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from checks.contest import Contest
from checks.promotion_rules import Rule, rule
from ml.bootstrap import resampled
from ml.slices import MIN_ROWS, declared_columns, slice_columns

MIN_DAYS = 10  # days with an uncommon label: fewer, and resamples without a score are no longer rare
NAMED = 3
OTHERS = "(others)"

_ROW = "__row"
_SCHEMA: dict[str, Any] = {
    "field": pl.String,
    "value": pl.String,
    "rows": pl.Int64,
    "candidate": pl.Float64,
    "calibration_error": pl.Float64,
    "champion": pl.Float64,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "lost": pl.Boolean,
}


@dataclass(frozen=True)
class Slice:
    """A part of the held-out rows: the index of its rows."""

    field: str
    value: str
    index: NDArray[Any]


def slices_of(contest: Contest) -> list[Slice]:
    """Return the declared slices that can be judged; of each field, all values too rare are one slice."""
    spec = contest.spec
    if not spec.slices:
        return []
    frame = contest.rows.select(slice_columns(spec)).with_row_index(_ROW)
    found: list[Slice] = []
    for field, column in declared_columns(spec).items():
        rare: list[Slice] = []
        called = "hour {}" if column != field else "{}"  # of a local time only the hour is a slice
        for (value,), part in frame.sort(column, _ROW).group_by(column, maintain_order=True):
            one = Slice(field, called.format(value), part[_ROW].to_numpy())
            (found if _enough(contest, one) else rare).append(one)
        if rare:
            together = Slice(field, OTHERS, np.sort(np.concatenate([one.index for one in rare])))
            found += [together] if _enough(contest, together) else []
    return found


def judge_slices(contest: Contest) -> pl.DataFrame:
    """Return one row a slice, the one that lost most first.

    Columns: field, value, rows, and of the task's score: candidate, champion, difference, its simultaneous interval
    low to high, lost (high is below the bound); calibration_error is the candidate's. Without a champion the last five
    are null and slices come in order of their score.
    """
    slices, gates = slices_of(contest), contest.spec.gates
    rows: list[dict[str, Any]] = [_measured(contest, one) for one in slices]
    if contest.champion is None or not slices:
        return pl.DataFrame(rows, schema=_SCHEMA).sort("candidate")
    draws = _draws(contest, slices, contest.champion)
    rows, draws = _with_the_small(rows, draws, gates.max_slice_loss)
    found = pl.DataFrame(rows, schema=_SCHEMA)
    difference, error = found["difference"].to_numpy(), np.nanstd(draws, axis=0)
    reach = _critical(draws, difference, error, gates.confidence) * error
    return found.with_columns(
        low=pl.Series(difference - reach),
        high=pl.Series(difference + reach),
        lost=pl.Series(difference + reach < -gates.max_slice_loss),
    ).sort("lost", "high", descending=[True, False])


def slice_rule(contest: Contest, found: pl.DataFrame) -> list[Rule]:
    """Return the rule on what `judge_slices` found: the worst slice by name; none where no slice is declared.

    Without a champion nothing is refused: what a slice can reach is not known before somebody reached it.
    """
    if not contest.spec.slices or contest.trouble:
        return []
    name, gates = "no slice lost", contest.spec.gates
    bound = f"no {gates.confidence:.0%} interval wholly below -{gates.max_slice_loss}"
    if found.is_empty():
        return [rule(name, "no slice has enough rows", bound, True, "")]
    if contest.champion is None:
        return [rule(name, f"no champion; {_extremes(contest, found)}", bound, True, "")]
    lost = found.filter("lost")
    named = lost.head(NAMED) if lost.height else found.head(1)
    seen = "; ".join(_line(row) for row in named.iter_rows(named=True))
    more = f" and {lost.height - NAMED} more" if lost.height > NAMED else ""
    return [
        rule(
            name,
            f"worst {seen}{more} ({found.height} slices)",
            bound,
            lost.is_empty(),
            "worse than the champion there beyond noise, whatever it gains elsewhere",
        )
    ]


def _enough(contest: Contest, one: Slice) -> bool:
    """Whether nearly every resample of days has a score: enough rows, and an uncommon label on enough days."""
    if len(one.index) < MIN_ROWS:
        return False
    labels = contest.labels[one.index]
    values, counts = np.unique(labels, return_counts=True)
    return len(np.unique(contest.days[one.index][labels != values[counts.argmax()]])) >= MIN_DAYS


def _measured(contest: Contest, one: Slice) -> dict[str, Any]:
    metrics = contest.task.evaluate(contest.labels[one.index], contest.candidate[one.index])
    row: dict[str, Any] = {"field": one.field, "value": one.value, "rows": len(one.index)}
    row |= {"candidate": metrics.score, "calibration_error": metrics.calibration_error}
    if contest.champion is not None:
        row["champion"] = contest.scorer(contest.champion, one.index)(np.ones(len(one.index)))
        row["difference"] = metrics.score - row["champion"]
    return row


def _draws(contest: Contest, slices: list[Slice], champion: NDArray[Any]) -> NDArray[np.float64]:
    """Return the differences [resamples, slices] of candidate and champion; NaN where a resample has no score."""
    new = [contest.scorer(contest.candidate, one.index) for one in slices]
    old = [contest.scorer(champion, one.index) for one in slices]

    def differences(weight: NDArray[np.float64]) -> list[float]:
        parts = [weight[one.index] for one in slices]
        return [after(part) - before(part) for part, after, before in zip(parts, new, old, strict=True)]

    return np.array([differences(weight) for weight in resampled(contest.rows.height, contest.days)])


def _with_the_small(
    rows: list[dict[str, Any]], draws: NDArray[np.float64], bound: float
) -> tuple[list[dict[str, Any]], NDArray[np.float64]]:
    """Add for each field the mean, weighted by rows, of the slices whose own intervals are wider than the bound."""
    small = 2 * np.nanstd(draws, axis=0) > bound
    for field in dict.fromkeys(row["field"] for row in rows):
        chosen = [place for place, row in enumerate(rows) if row["field"] == field and small[place]]
        if len(chosen) < 2:
            continue
        weight = np.array([rows[place]["rows"] for place in chosen], dtype=np.float64)
        known = np.isfinite(draws[:, chosen])
        mean = np.nansum(draws[:, chosen] * weight, axis=1) / np.maximum(known @ weight, 1)
        rows = [*rows, _mean_row(field, [rows[place] for place in chosen], weight / weight.sum())]
        draws = np.column_stack([draws, mean])
    return rows, draws


def _mean_row(field: str, rows: list[dict[str, Any]], share: NDArray[np.float64]) -> dict[str, Any]:
    names = ("candidate", "calibration_error", "champion", "difference")
    means = {name: float(share @ np.array([row[name] for row in rows])) for name in names}
    return {"field": field, "value": f"({len(rows)} small ones)", "rows": sum(row["rows"] for row in rows), **means}


def _critical(
    draws: NDArray[np.float64], difference: NDArray[np.float64], error: NDArray[np.float64], confidence: float
) -> float:
    """Return how many standard errors below its value no difference is, in the share `confidence` of resamples."""
    with np.errstate(invalid="ignore", divide="ignore"):
        below = np.where(error > 0, (draws - difference) / error, 0.0)
    return float(np.quantile(np.nanmax(-below, axis=1), confidence))


def _line(row: dict[str, Any]) -> str:
    seen = f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]"
    return f"{row['field']}={row['value']} ({row['rows']:,} rows) {seen}, {row['candidate']:.4f}"


def _extremes(contest: Contest, found: pl.DataFrame) -> str:
    low, off = found.row(0, named=True), found.sort("calibration_error").row(-1, named=True)
    return (
        f"lowest {contest.task.score_title} {low['candidate']:.4f} on {low['field']}={low['value']} ({low['rows']:,} "
        f"rows), largest calibration error {off['calibration_error']:.4f} on {off['field']}={off['value']} "
        f"({found.height} slices)"
    )
