"""What columns' statistics settle by themselves: no null at all, the least and greatest value within the bounds.

Great Expectations takes milliseconds an expectation, and most of them hold: it is asked for what is left.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from checks.suite import Expectation

NOT_NULL = "expect_column_values_to_not_be_null"
BETWEEN = "expect_column_values_to_be_between"
_PLAIN = {"column", "min_value", "max_value", "mostly"}


class Statistics:
    """Nulls, least and greatest value of the numbers and instants in a frame; NaN counts as null, as in pandas."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._rows = frame.height
        self._schema = frame.schema
        asked: list[pl.Expr] = []
        for name, dtype in frame.schema.items():
            column = pl.col(name).fill_nan(None) if dtype.is_float() else pl.col(name)
            asked.append(column.null_count().alias(f"nulls {name}"))
            if _is_ordered(dtype):
                asked += [column.min().alias(f"min {name}"), column.max().alias(f"max {name}")]
        self._found: Mapping[str, Any] = frame.select(asked).row(0, named=True) if asked else {}

    def settle(self, expectations: Sequence[Expectation]) -> list[int]:
        """Return the positions of the expectations that hold on every row by these statistics alone."""
        return [n for n, item in enumerate(expectations) if self._holds(item)]

    def _holds(self, item: Expectation) -> bool:
        kwargs = item["kwargs"]
        column = kwargs.get("column")
        if column not in self._schema or not set(kwargs) <= _PLAIN:
            return False
        if item["type"] == NOT_NULL:
            return self._found[f"nulls {column}"] == 0
        return item["type"] == BETWEEN and _is_ordered(self._schema[column]) and self._within(column, kwargs)

    def _within(self, column: str, kwargs: Mapping[str, Any]) -> bool:
        low, high = kwargs.get("min_value"), kwargs.get("max_value")
        kind: Any = int | float if self._schema[column].is_numeric() else datetime
        if not all(bound is None or isinstance(bound, kind) for bound in (low, high)):
            return False
        least, greatest = self._found[f"min {column}"], self._found[f"max {column}"]
        if least is None:
            return self._found[f"nulls {column}"] == self._rows
        return (low is None or low <= least) and (high is None or greatest <= high)


def _is_ordered(dtype: pl.DataType) -> bool:
    instant = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
    return instant or dtype.is_integer() or dtype.is_float()
