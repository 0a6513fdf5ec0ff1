"""What columns' statistics settle by themselves: nulls, least and greatest value, mean, deviation, distinct values.

Great Expectations takes milliseconds an expectation, and most of them hold: it is asked for what is left.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from checks.suite import Expectation

NOT_NULL = "expect_column_values_to_not_be_null"
BETWEEN = "expect_column_values_to_be_between"
DISTINCT = "expect_column_unique_value_count_to_be_between"
# Of a number that is judged: how it is computed. The deviation is the sample's, as in pandas.
NUMBERS: Mapping[str, Callable[[pl.Expr], pl.Expr]] = {
    "expect_column_mean_to_be_between": pl.Expr.mean,
    "expect_column_stdev_to_be_between": pl.Expr.std,
    DISTINCT: lambda column: column.drop_nulls().n_unique(),
}
_PLAIN = {"column", "min_value", "max_value"}
NEAR = 1e-9  # relative: so close to a bound, summing in another order might tell otherwise


class Statistics:
    """Statistics of a frame's columns, each computed when it is first asked for; NaN counts as null, as in pandas."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame
        self._schema = frame.schema
        asked: list[pl.Expr] = []
        for name, dtype in frame.schema.items():
            column = _column(name, dtype)
            asked.append(column.null_count().alias(f"nulls {name}"))
            if _is_ordered(dtype):
                asked += [column.min().alias(f"min {name}"), column.max().alias(f"max {name}")]
        self._found: Mapping[str, Any] = frame.select(asked).row(0, named=True) if asked else {}

    def settle(self, expectations: Sequence[Expectation]) -> dict[int, tuple[Any, int]]:
        """Return those that hold by statistics alone, by position: the number judged, if one is, and rows that do not.

        Rows that do not hold are those that an expectation of a share allows.
        """
        numbers = self._numbers([item for item in expectations if item["type"] in NUMBERS and self._plain(item)])
        settled = {}
        for n, item in enumerate(expectations):
            column = item["kwargs"].get("column")
            if item["type"] in NUMBERS:
                number = numbers.get((item["type"], column)) if self._plain(item) else None
                if number is not None and _clearly_within(number, item["kwargs"]):
                    settled[n] = (number, 0)
            elif column in self._schema and self._holds(item):
                settled[n] = (None, self._found[f"nulls {column}"] if item["type"] == NOT_NULL else 0)
        return settled

    def _plain(self, item: Expectation) -> bool:
        return item["kwargs"].get("column") in self._schema and set(item["kwargs"]) <= _PLAIN

    def _numbers(self, items: Sequence[Expectation]) -> dict[tuple[str, str], Any]:
        wanted = {(item["type"], item["kwargs"]["column"]) for item in items}
        wanted = {(kind, name) for kind, name in wanted if _has(kind, self._schema[name])}
        expressions = [
            NUMBERS[kind](_column(name, self._schema[name])).alias(f"{kind} {name}") for kind, name in wanted
        ]
        found = self._frame.select(expressions).row(0, named=True) if expressions else {}
        return {(kind, name): found[f"{kind} {name}"] for kind, name in wanted}

    def _holds(self, item: Expectation) -> bool:
        kwargs, column = item["kwargs"], item["kwargs"]["column"]
        if item["type"] == NOT_NULL and set(kwargs) <= {"column", "mostly"}:
            nulls, rows = self._found[f"nulls {column}"], self._frame.height
            return nulls == 0 or (rows - nulls) / rows > kwargs.get("mostly", 1) * (1 + NEAR)
        plain = item["type"] == BETWEEN and set(kwargs) <= {*_PLAIN, "mostly"}
        return plain and _is_ordered(self._schema[column]) and self._within(column, kwargs)

    def _within(self, column: str, kwargs: Mapping[str, Any]) -> bool:
        low, high = kwargs.get("min_value"), kwargs.get("max_value")
        kind: Any = int | float if self._schema[column].is_numeric() else datetime
        if not all(bound is None or isinstance(bound, kind) for bound in (low, high)):
            return False
        least, greatest = self._found[f"min {column}"], self._found[f"max {column}"]
        if least is None:
            return self._found[f"nulls {column}"] == self._frame.height
        return (low is None or low <= least) and (high is None or greatest <= high)


def _column(name: str, dtype: pl.DataType) -> pl.Expr:
    return pl.col(name).fill_nan(None) if dtype.is_float() else pl.col(name)


def _has(kind: str, dtype: pl.DataType) -> bool:
    """Whether a column of that type has the number."""
    return dtype.is_integer() or dtype.is_float() or (dtype == pl.String and kind == DISTINCT)


def _clearly_within(number: Any, kwargs: Mapping[str, Any]) -> bool:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if isinstance(number, int):  # a count is exact
        return (low is None or low <= number) and (high is None or number <= high)
    near = NEAR * abs(number)
    return (low is None or low < number - near) and (high is None or number + near < high)


def _is_ordered(dtype: pl.DataType) -> bool:
    instant = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    return instant or dtype.is_integer() or dtype.is_float()
