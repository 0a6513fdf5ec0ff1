"""From an outcome to both places that show it: the lake's audit table and Dagster's check evaluations."""

from typing import Any

import dagster as dg

from assets.metadata import markdown_table
from assets.resources import Platform
from checks.outcome import Outcome
from ml.lake import WHOLE
from ml.verdicts import Verdict

TABLE_ROWS = 40


def record(
    platform: Platform,
    run_id: str,
    outcome: Outcome,
    *,
    table: str,
    version: int,
    check: str,
    partition: str = WHOLE,
    blocking: bool = True,
) -> dg.AssetCheckResult:
    """Append the verdict to the audit table and return what Dagster shows."""
    verdict = Verdict(
        table=table,
        version=version,
        check=check,
        passed=outcome.passed,
        partition=partition,
        blocking=blocking,
        evidence={"summary": outcome.summary, **outcome.evidence},
        run_id=run_id,
        actor="dagster",
    )
    platform.verdicts.record([verdict])
    severity = dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN
    return dg.AssetCheckResult(
        passed=outcome.passed,
        check_name=check,
        severity=severity,
        description=outcome.summary,
        metadata={"table version": version, **metadata_of(outcome)},
    )


def metadata_of(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome's evidence as Dagster metadata: summary, table of worst rows, link to the report."""
    entries: dict[str, Any] = {"summary": outcome.summary}
    if outcome.table:
        entries["evidence"] = dg.MetadataValue.md(markdown_table(outcome.table[:TABLE_ROWS]))
    if outcome.report is not None:
        entries["report"] = dg.MetadataValue.path(str(outcome.report))
    return entries
