"""The check on one partition of a table: does it hold what its suite says? Great Expectations judges.

What is expected is in `checks/suite.py` and its files, how it is judged in `checks/expectation_run.py`, and how it is
shown when it is broken in `checks/expectation_evidence.py`.
"""

from collections.abc import Mapping

import polars as pl

from checks.column_picture import picture_of
from checks.expectation_evidence import evidence_of, failing_rows, summary_of, table_of, worst_first
from checks.expectation_run import Result, run
from checks.outcome import Outcome
from checks.suite import Expectation, Suite, columns_of, kind_of, roots_of

CHECK = "expectations"
COLUMNS = "expect_table_columns_to_match_declaration"
ROW_COUNT = "expect_table_row_count_to_be_between"


def check_expectations(suite: Suite, rows: pl.DataFrame, partition: str) -> Outcome:
    """Judge the rows of one partition ("2013-01", or "" for the whole table).

    A passing outcome says how many expectations hold. A failing one has the broken expectations first, the rows that
    break them, and a picture of the column that most of them name.
    """
    computed, problems = _computed(suite, rows)
    judged = [item for item in suite.expectations(partition) if _applies(item, rows.height)]
    hopeless = [item for item in judged if problems.keys() & set(columns_of(item))]
    asked = [item for item in judged if item not in hopeless]
    results = [_as_declared(suite, rows), *run(computed, asked), *(_cannot(item, problems) for item in hopeless)]
    results = worst_first(results, {name: roots_of(sql) for name, sql in suite.computed.items()})
    broken = [result for result in results if not result.passed]
    return Outcome(
        passed=not broken,
        summary=summary_of(suite, partition, computed, results),
        evidence=evidence_of(computed, results),
        table=table_of(computed, results),
        failing=failing_rows(suite.key, rows.columns, computed, broken) if broken else None,
        plot=picture_of(computed, broken, suite.table, partition) if broken else None,
    )


def _applies(item: Expectation, rows: int) -> bool:
    """Of no rows there is nothing but their number to judge; a share or a mean wants more than a few."""
    return rows >= item.get("meta", {}).get("from_rows", 0 if item["type"] == ROW_COUNT else 1)


def _computed(suite: Suite, rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return the rows with the suite's computed columns, and why each of the others could not be computed."""
    problems: dict[str, str] = {}
    for name, sql in suite.computed.items():
        try:
            rows = rows.with_columns(pl.sql_expr(sql).alias(name))
            if rows.schema[name].is_decimal():  # SQL's 60.0; Great Expectations reckons with floats
                rows = rows.with_columns(pl.col(name).cast(pl.Float64))
        except pl.exceptions.PolarsError as error:
            reason = str(error).strip().splitlines()[0].partition("; valid columns")[0]
            problems[name] = f"cannot be computed ({reason})"
    return rows, problems


def _cannot(item: Expectation, problems: Mapping[str, str]) -> Result:
    return Result(item, False, error=next(problems[column] for column in columns_of(item) if column in problems))


def _as_declared(suite: Suite, rows: pl.DataFrame) -> Result:
    """Whether every declared column is there with its kind, and no other has values.

    Judged here: in Great Expectations' data frame an integer column with nulls is one of floats.
    """
    wrong = [f"{name} is missing" for name in suite.kinds if name not in rows.columns]
    wrong += [
        f"{name} is {rows.schema[name]}, declared {kind}"
        for name, kind in suite.kinds.items()
        if name in rows.columns and kind is not None and kind_of(rows.schema[name]) != kind
    ]
    # A column that a declaration has lost stays in the table, without values in what is written since.
    surplus = [c for c in rows.columns if c not in suite.kinds and rows[c].null_count() < rows.height]
    wrong += [f"{name} is not declared" for name in surplus]
    item = {"type": COLUMNS, "kwargs": {}, "meta": {"notes": "Follows from the table's declaration."}}
    return Result(item, not wrong, error="; ".join(wrong) or None)
