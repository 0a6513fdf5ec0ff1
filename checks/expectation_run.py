"""Runs Great Expectations on rows in memory. What is expected, and how a result is shown, is not here.

Two rounds, for speed. The first asks each expectation that no statistic settles only whether it holds (and, where a
number is judged, for that number); the second asks the broken ones for every row that breaks them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import polars as pl

from checks.column_statistics import Statistics
from checks.suite import Expectation, columns_of

NUMBER = "number"
MESSAGE = 200  # characters of an error: some quote a whole column


@dataclass(frozen=True)
class Result:
    """What became of one expectation.

    `observed` is the number or numbers judged, None where rows are. `rows` are the numbers of the rows that break it.
    `error` is the message of one that could not be judged: it is broken.
    """

    expectation: Expectation
    passed: bool
    observed: Any = None
    unexpected: int = 0
    rows: tuple[int, ...] = ()
    error: str | None = None


def run(rows: pl.DataFrame, expectations: Sequence[Expectation]) -> list[Result]:
    """Return a result for each expectation, in their order. None of them can end the run for the others."""
    named = {column for item in expectations for column in columns_of(item)}
    frame = rows.select([c for c in rows.columns if c in named] or rows.columns[:1])
    settled = Statistics(frame).settle(expectations)
    found = {n: Result(expectations[n], True, number, few) for n, (number, few) in settled.items()}
    left = [n for n in range(len(expectations)) if n not in found]
    quick = [n for n in left if _judges_every_row(expectations[n])]
    judge = _Judge(frame)
    found |= judge.ask(expectations, quick, "BOOLEAN_ONLY")
    found |= judge.ask(expectations, [n for n in left if n not in quick], "BASIC")
    broken = [n for n in left if not found[n].passed and found[n].error is None]
    found |= judge.ask(expectations, broken, "COMPLETE")
    return [found[n] for n in range(len(expectations))]


class _Judge:
    """Great Expectations' validator on one frame."""

    def __init__(self, frame: pl.DataFrame) -> None:
        from great_expectations.execution_engine import PandasExecutionEngine
        from great_expectations.validator.validator import Validator

        engine = PandasExecutionEngine(batch_data_dict={"rows": frame.to_pandas()})
        self._validator = Validator(execution_engine=engine, data_context=_context())

    def ask(self, expectations: Sequence[Expectation], numbers: Sequence[int], detail: str) -> dict[int, Result]:
        """Return the results of the numbered expectations. One that cannot even be asked is broken with its message."""
        from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

        if not numbers:
            return {}
        try:
            configurations = [
                ExpectationConfiguration(expectations[n]["type"], dict(expectations[n]["kwargs"]), meta={NUMBER: n})
                for n in numbers
            ]
            answers: Any = self._validator.graph_validate(configurations, {"result_format": detail})
        except Exception as error:  # whatever one of them raises must not end the others
            if len(numbers) == 1:
                return {numbers[0]: Result(expectations[numbers[0]], False, error=_first_line(str(error)))}
            return {n: r for number in numbers for n, r in self.ask(expectations, [number], detail).items()}
        return {a.expectation_config.meta[NUMBER]: _result(expectations, a) for a in answers}


@cache
def _context() -> Any:
    """Return the one context of this process: it is asked for nothing but to draw no progress bars."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    return context


def _judges_every_row(item: Expectation) -> bool:
    """Whether to pass means that no row breaks it, so that there is no number to ask for."""
    from great_expectations.expectations.expectation import (
        ColumnMapExpectation,
        ColumnPairMapExpectation,
        MulticolumnMapExpectation,
    )
    from great_expectations.expectations.registry import get_expectation_impl

    try:
        kind = get_expectation_impl(item["type"])
    except Exception:  # an unknown type: asked for, it says so itself
        return False
    by_row = issubclass(kind, ColumnMapExpectation | ColumnPairMapExpectation | MulticolumnMapExpectation)
    return by_row and "mostly" not in item["kwargs"]


def _result(expectations: Sequence[Expectation], answer: Any) -> Result:
    details = answer.result or {}
    return Result(
        expectation=expectations[answer.expectation_config.meta[NUMBER]],
        passed=bool(answer.success),
        observed=details.get("observed_value"),
        unexpected=details.get("unexpected_count") or 0,
        rows=tuple(details.get("unexpected_index_list") or ()),
        error=None if answer.success else _message(answer.exception_info or {}),
    )


def _message(info: Mapping[str, Any]) -> str | None:
    """Find the message: Great Expectations nests it under a metric's name, or not."""
    for part in (info, *(value for value in info.values() if isinstance(value, Mapping))):
        if part.get("exception_message"):
            return _first_line(str(part["exception_message"]))
    return None


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:MESSAGE]
