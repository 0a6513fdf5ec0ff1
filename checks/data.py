"""Great Expectations on raw tables: what every declared source must hold, plus its own suite file.

Suite files are `checks/expectations/raw_<source>.json`: a list of Great Expectations expectations as
that library writes them. A file is optional; the contract derived from the declaration is not.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from checks.outcome import Outcome
from ml.source import Source

SUITES = Path(__file__).parent / "expectations"
WORST_ROWS = 5


def check_expectations(source: Source, rows: pl.DataFrame) -> Outcome:
    """Run the source's suite on one partition's rows and return the outcome with observed values."""
    results = _validate(source, rows)
    failed = [r for r in results if not r["passed"]]
    summary = f"{len(results) - len(failed)} of {len(results)} expectations hold on {rows.height} rows"
    if failed:
        summary += "; " + "; ".join(_describe(r) for r in failed[:3])
    return Outcome(not failed, summary, {"rows": rows.height, "expectations": results}, tuple(_row(r) for r in results))


def suite_for(source: Source) -> list[dict[str, Any]]:
    """Return the expectations of a source: the declared contract, then its suite file."""
    contract: list[dict[str, Any]] = [
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}},
        {
            "type": "expect_compound_columns_to_be_unique",
            "kwargs": {"column_list": [*source.key, "created_timestamp"]},
        },
        *(_not_null(column) for column in (*source.key, "event_timestamp", "created_timestamp")),
        {
            "type": "expect_column_pair_values_a_to_be_greater_than_b",
            "kwargs": {"column_A": "created_timestamp", "column_B": "event_timestamp", "or_equal": True},
        },
    ]
    path = SUITES / f"raw_{source.name}.json"
    return contract + (json.loads(path.read_text()) if path.exists() else [])


def _not_null(column: str) -> dict[str, Any]:
    return {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": column}}


def _validate(source: Source, rows: pl.DataFrame) -> list[dict[str, Any]]:
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    suite = gx.ExpectationSuite(
        name=f"raw_{source.name}",
        expectations=[ExpectationConfiguration(**item) for item in suite_for(source)],
    )
    asset = context.data_sources.add_pandas("lake").add_dataframe_asset(source.name)
    batch = asset.add_batch_definition_whole_dataframe("partition").get_batch({"dataframe": rows.to_pandas()})
    return [_plain(result) for result in batch.validate(suite, result_format="SUMMARY").results]


def _plain(result: Any) -> dict[str, Any]:
    details = result.result or {}
    config = result.expectation_config
    return {
        "expectation": config.type,
        "expected": {k: v for k, v in config.kwargs.items() if k != "batch_id"},
        "passed": bool(result.success),
        "observed": details.get("observed_value"),
        "unexpected_count": details.get("unexpected_count"),
        "unexpected_percent": details.get("unexpected_percent"),
        "worst": [str(v) for v in (details.get("partial_unexpected_list") or [])[:WORST_ROWS]],
        "error": None if result.success else _exception(result.exception_info or {}),
    }


def _exception(info: Mapping[str, Any]) -> str | None:
    """Find the message: Great Expectations nests it under a metric's name, or not."""
    for part in (info, *(value for value in info.values() if isinstance(value, Mapping))):
        if part.get("exception_message"):
            return str(part["exception_message"])
    return None


def _row(result: Mapping[str, Any]) -> dict[str, Any]:
    """One expectation as a table row for the UI."""
    return {
        "expectation": result["expectation"],
        "expected": ", ".join(f"{k}={v}" for k, v in result["expected"].items()),
        "passed": result["passed"],
        "observed": "" if result["observed"] is None else str(result["observed"]),
        "unexpected rows": result["unexpected_count"] or 0,
        "worst": result["error"] or ", ".join(result["worst"]),
    }


def _describe(result: Mapping[str, Any]) -> str:
    expected = ", ".join(f"{k}={v}" for k, v in result["expected"].items())
    seen = result["error"] or (
        f"observed {result['observed']}"
        if result["unexpected_count"] is None
        else f"{result['unexpected_count']} rows do not, such as {', '.join(result['worst'][:3])}"
    )
    return f"{result['expectation']}({expected}): {seen}"
