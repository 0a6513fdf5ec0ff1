"""From an outcome to both places that show it: the lake's audit table and Dagster's check evaluations."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

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


def markdown_table(rows: tuple[Mapping[str, Any], ...]) -> str:
    """Render rows (same keys) as a Markdown table, which the UI shows as one."""
    heads = list(rows[0])
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(_cell(row[head]) for head in heads) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    return str(value).replace("|", "\\|").replace("\n", " ")
