"""Small pictures of a column for the UI, as PNG. Drawn only when something is wrong."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from checks.expectation_evidence import rule
from checks.expectation_run import Result
from checks.suite import columns_of
from ml.pictures import picture

TOP_VALUES = 12
BINS = 60
# The few values beyond these shares of the rest are gathered at the picture's edges.
EDGES = (0.002, 0.998)


def picture_of(rows: pl.DataFrame, broken: Sequence[Result], table: str, partition: str) -> bytes | None:
    """Return the histogram of the first broken column with the range allowed, or bars of its most frequent values.

    None if no broken expectation names a column that is there.
    """
    for result in broken:
        for column in columns_of(result.expectation):
            if column in rows.columns and rows[column].null_count() < rows.height:
                try:
                    return _draw(rows[column], result, f"{table} {partition}".strip())
                except Exception:  # broken data may be beyond drawing: the verdict stands without its picture
                    return None
    return None


def _draw(values: pl.Series, result: Result, title: str) -> bytes:
    missing = f", {values.null_count():,} null" if values.null_count() else ""
    found = f"{title}: {values.name} of {len(values):,} rows{missing}"

    def draw(axes: Any) -> None:
        axes.set_title(f"{found}\nexpected {rule(result.expectation)}"[:160])
        if values.dtype.is_numeric():
            finite = values.cast(pl.Float64).drop_nulls()
            _histogram(axes, finite.filter(finite.is_finite()), result)
        else:
            _bars(axes, values, set(values.gather(list(result.rows)).cast(pl.String)))

    return picture(draw, (6, 2.8))


def _histogram(axes: Any, values: pl.Series, result: Result) -> None:
    kwargs = result.expectation["kwargs"]
    bounds = [kwargs[name] for name in ("min_value", "max_value") if kwargs.get(name) is not None]
    judges_values = result.expectation["type"] == "expect_column_values_to_be_between" and bounds
    low, high = (float(values.quantile(share) or 0) for share in EDGES)
    if judges_values:
        low, high = min(low, *bounds), max(high, *bounds)
        allowed = kwargs.get("min_value"), kwargs.get("max_value")
        start, end = low if allowed[0] is None else allowed[0], high if allowed[1] is None else allowed[1]
        axes.axvspan(start, end, color="tab:green", alpha=0.15)
    axes.hist(values.clip(low, high).to_numpy(), bins=BINS, color="tab:blue")
    axes.set_yscale("log")
    axes.set_ylabel("rows")
    axes.set_xlabel("green: allowed; the edges hold all beyond them" if judges_values else "")


def _bars(axes: Any, values: pl.Series, wrong: set[str | None]) -> None:
    counts = values.cast(pl.String).fill_null("(null)").value_counts(sort=True).head(TOP_VALUES).reverse()
    labels, heights = counts[values.name].to_list(), counts["count"].to_list()
    axes.barh(labels, heights, color=["tab:red" if label in wrong else "tab:blue" for label in labels])
    axes.set_xlabel("rows; red: not allowed")
