"""What a person is shown of an expectation's result: words, a table, a summary, the failing rows. Judges nothing."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from checks.expectation_run import Result
from checks.outcome import RULE
from checks.suite import Expectation, Suite, columns_of

FAILING_ROWS = 1_000
WORST_VALUES = 5
IN_SUMMARY = 3
MANY = 200
_AND = "; "
_SAID = {"column", "column_A", "column_B", "column_list", "column_set", "ignore_row_if"}


def worst_first(results: Sequence[Result], roots: Mapping[str, Sequence[str]]) -> list[Result]:
    """Put broken ones first, and among them those on the column that the most broken ones name.

    `roots` gives the columns behind each computed one: what three broken expectations have in common is the suspect.
    """
    blame: Counter[str] = Counter()
    for result in results:
        if not result.passed:
            for column in columns_of(result.expectation):
                blame.update({column: 2} | dict.fromkeys(roots.get(column, ()), 1))

    def rank(result: Result) -> tuple[bool, bool, int, int]:
        columns = columns_of(result.expectation)
        return (
            result.passed,
            bool(columns),  # the table's own columns and its number of rows go before what is in it
            -max((blame[column] for column in columns), default=0),
            -result.unexpected,
        )

    return sorted(results, key=rank)


def table_of(rows: pl.DataFrame, results: Sequence[Result]) -> tuple[dict[str, Any], ...]:
    """Return a row an expectation, for the UI: in words, what was expected and what was found."""
    return tuple(
        {
            "passed": result.passed,
            "expectation": words(result.expectation),
            "column": column_of(result.expectation),
            "expected": expected(result.expectation),
            "observed": observed(result, rows.height),
            "unexpected rows": result.unexpected,
            "per cent": round(100 * result.unexpected / max(rows.height, 1), 2),
            "worst values": ", ".join(worst(rows, result)),
            "reason": result.expectation.get("meta", {}).get("notes", ""),
        }
        for result in results
    )


def evidence_of(rows: pl.DataFrame, results: Sequence[Result]) -> dict[str, Any]:
    """Return what the audit table keeps: counts, and all of the broken expectations."""
    broken = [row for row in table_of(rows, results) if not row["passed"]]
    evidence = {"rows": rows.height, "expectations": len(results), "broken": broken}
    return json.loads(json.dumps(evidence, default=str))


def summary_of(suite: Suite, partition: str, rows: pl.DataFrame, results: Sequence[Result]) -> str:
    """Return one line: how many hold; the worst broken ones with what was found and one row each."""
    broken = [result for result in results if not result.passed]
    if not broken:
        return f"{len(results)} of {len(results)} expectations hold on {rows.height} rows"
    where = f"{suite.table}[{partition}]" if partition else suite.table
    lines = [_line(suite.key, rows, result) for result in broken[:IN_SUMMARY]]
    if len(broken) > IN_SUMMARY:
        lines.append(f"and {len(broken) - IN_SUMMARY} more")
    return f"{len(broken)} of {len(results)} expectations fail on {rows.height} rows of {where}: " + _AND.join(lines)


def failing_rows(
    key: Sequence[str], columns: Sequence[str], rows: pl.DataFrame, broken: Sequence[Result]
) -> pl.DataFrame | None:
    """Return the rows that break an expectation, worst first, and which: at most 1,000, each rule with its share.

    `rows` has the table's own columns and those computed of it, `columns` names the former.
    """
    share = -(-FAILING_ROWS // max(sum(bool(result.rows) for result in broken), 1))
    hits = [(rule(result.expectation), n) for result in broken for n in worst_rows(rows, result)[:share]]
    if not hits:
        return None
    rules = pl.DataFrame(hits, schema={RULE: pl.String, "row": pl.UInt32}, orient="row")
    rules = rules.group_by("row", maintain_order=True).agg(pl.col(RULE).str.join(_AND)).head(FAILING_ROWS)
    first = [name for name in key if name in columns]
    own = rows.select(*first, *(name for name in columns if name not in first)).with_row_index("row")
    return rules.join(own, on="row", how="left", maintain_order="left").drop("row")


def rule(item: Expectation) -> str:
    """Return an expectation as one phrase: dep_delay: values to be between -60 and 2880."""
    return f"{column_of(item)}: {words(item)} {expected(item)}".strip()


def words(item: Expectation) -> str:
    """Return what is expected in words, the bounds apart: values to be."""
    for prefix in ("expect_column_pair_", "expect_column_", "expect_"):
        if item["type"].startswith(prefix):
            phrase = item["type"].removeprefix(prefix).removesuffix("_between")
            return phrase.replace("_a_to_be_greater_than_b", "_to_be").replace("_", " ")
    return item["type"]


def column_of(item: Expectation) -> str:
    """Return the column or columns that an expectation is about."""
    return ", ".join(columns_of(item)) or "(table)"


def expected(item: Expectation) -> str:
    """Return the bounds in words: -60 to 2880, in at least 99% of rows."""
    kwargs = dict(item["kwargs"])
    parts = []
    if {"min_value", "max_value"} & set(kwargs):
        parts.append(_range(kwargs.pop("min_value", None), kwargs.pop("max_value", None)))
    if "column_A" in kwargs:
        sign = " >= " if kwargs.pop("or_equal", False) else " > "
        parts.append(sign.join((kwargs["column_A"], kwargs["column_B"])))
    if "value_set" in kwargs:
        parts.append(", ".join(_plain(value) for value in kwargs.pop("value_set")))
    if "quantile_ranges" in kwargs:
        ranges = kwargs.pop("quantile_ranges")
        pairs = zip(ranges["quantiles"], ranges["value_ranges"], strict=True)
        parts.append(", ".join(f"{quantile:.0%}: {_range(*bounds)}" for quantile, bounds in pairs))
    if "regex" in kwargs:
        parts.append(kwargs.pop("regex"))
    share = kwargs.pop("mostly", None)
    parts += [f"{name}={_plain(value)}" for name, value in kwargs.items() if name not in _SAID]
    if share is not None:
        parts.append(f"in at least {100 * share:g}% of rows")
    return ", ".join(parts)


def observed(result: Result, rows: int) -> str:
    """Return what was found in words."""
    if result.error:
        return result.error
    if isinstance(result.observed, Mapping) and "quantiles" in result.observed:
        pairs = zip(result.observed["quantiles"], result.observed["values"], strict=True)
        return ", ".join(f"{quantile:.0%}: {_plain(value)}" for quantile, value in pairs)
    if result.observed is not None:
        return _plain(result.observed)
    return f"{result.unexpected:,} of {rows:,} rows do not" if result.unexpected else "all rows do"


def worst(rows: pl.DataFrame, result: Result) -> list[str]:
    """Return values that break an expectation, the farthest from its bounds first, or else the most frequent."""
    columns = [column for column in columns_of(result.expectation) if column in rows.columns]
    values = (", ".join(_plain(rows[column][n]) for column in columns) for n in worst_rows(rows, result)[:MANY])
    return list(dict.fromkeys(values))[:WORST_VALUES]


def worst_rows(rows: pl.DataFrame, result: Result) -> list[int]:
    """Return the numbers of the rows that break an expectation, those first that are farthest from its bounds.

    Where there is no distance, the most frequent value goes first.
    """
    columns = columns_of(result.expectation)
    if not result.rows or len(columns) != 1:
        return list(result.rows)
    values = rows[columns[0]].gather(list(result.rows))
    low, high = (result.expectation["kwargs"].get(name) for name in ("min_value", "max_value"))
    if values.dtype.is_numeric() and all(isinstance(bound, int | float | None) for bound in (low, high)):
        below = values * 0 if low is None else low - values
        above = values * 0 if high is None else values - high
        order = pl.select(pl.max_horizontal(below, above)).to_series()
    else:
        order = pl.select(values.to_frame().select(pl.len().over(values.name)).to_series()).to_series()
    return pl.Series(list(result.rows)).gather(order.arg_sort(descending=True, nulls_last=True)).to_list()


def _line(key: Sequence[str], rows: pl.DataFrame, result: Result) -> str:
    line = f"{rule(result.expectation)}: {observed(result, rows.height)}"
    if not result.rows:
        return line
    number, columns = worst_rows(rows, result)[0], columns_of(result.expectation)
    names = [name for name in dict.fromkeys((*columns, *key)) if name in rows.columns]
    return f"{line} ({result.unexpected / rows.height:.1%}), such as " + ", ".join(
        f"{name}={_plain(rows[name][number])}" for name in names
    )


def _range(low: Any, high: Any) -> str:
    if low is None or high is None:
        return f"at least {_plain(low)}" if high is None else f"at most {_plain(high)}"
    return _plain(low) if low == high else f"{_plain(low)} to {_plain(high)}"


def _plain(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
