"""From an outcome to both places that show it: the lake's audit tables and Dagster's check evaluations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
import polars as pl
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,  # not exported, and an evaluation needs it
)

from assets.metadata import markdown_table, shown
from assets.reports import address_of
from assets.resources import Platform
from checks.outcome import Outcome
from ml.lake import WHOLE
from ml.overrides import Override
from ml.settings import Settings
from ml.verdicts import Verdict

TABLE_ROWS = 40
FAILING_ROWS = 20


@dataclass(frozen=True)
class Judgement:
    """A check's outcome on one version of one partition of a table."""

    table: str
    version: int
    check: str
    outcome: Outcome
    partition: str = WHOLE
    blocking: bool = True


def record(platform: Platform, run_id: str, judgements: Sequence[Judgement]) -> None:
    """Append the verdicts to the audit table in one transaction; keep the rows that blocking checks named."""
    for j in judgements:
        if j.blocking and not j.outcome.passed and j.outcome.failing is not None:
            platform.quarantine.keep(j.table, j.version, j.partition, j.check, j.outcome.failing, run_id)
    platform.verdicts.record(_verdict(judgement, run_id) for judgement in judgements)


def evaluation(
    platform: Platform,
    asset: dg.AssetKey,
    judgement: Judgement,
    override: Override | None = None,
    target: Target | None = None,
) -> dg.AssetCheckEvaluation:
    """Return what Dagster shows of a judgement. One that an override lets pass is a warning, never a pass."""
    outcome = judgement.outcome
    stops, short = judgement.blocking and override is None, outcome.short or outcome.summary
    # Text: of a number the UI would draw a plot.
    about = {"table version": str(judgement.version), **_overridden(override)}
    return dg.AssetCheckEvaluation(
        asset_key=asset,
        check_name=judgement.check,
        passed=outcome.passed,
        severity=dg.AssetCheckSeverity.ERROR if stops else dg.AssetCheckSeverity.WARN,
        description=f"{override}; {short}" if override and not outcome.passed else short,
        metadata={**about, **metadata_of(outcome, platform.settings)},
        target_materialization_data=target,
        blocking=judgement.blocking,
        partition=judgement.partition or None,
    )


def metadata_of(outcome: Outcome, settings: Settings) -> dict[str, Any]:
    """Return an outcome's evidence as Dagster metadata: summary, rules, failing rows, picture, page."""
    entries: dict[str, Any] = {"summary": outcome.summary}
    if outcome.table:
        entries["evidence"] = dg.MetadataValue.md(markdown_table(outcome.table[:TABLE_ROWS]))
    if outcome.failing is not None and outcome.failing.height:
        entries["failing rows"] = outcome.failing.height
        entries["failing rows, the first"] = dg.MetadataValue.md(_first_rows(outcome.failing))
    if outcome.plot is not None:
        entries["plot"] = shown(outcome.plot)
    if outcome.report is not None:
        entries["report"] = dg.MetadataValue.url(address_of(settings, outcome.report))
        entries["report's file"] = dg.MetadataValue.path(str(outcome.report))
    return entries


def _first_rows(failing: pl.DataFrame) -> str:
    return markdown_table(tuple(failing.head(FAILING_ROWS).iter_rows(named=True)))


def _overridden(override: Override | None) -> dict[str, Any]:
    if override is None:
        return {}
    return {
        "overridden by": override.who,
        "override reason": override.why,
        "override until": override.until.isoformat(timespec="minutes"),
    }


def _verdict(judgement: Judgement, run_id: str) -> Verdict:
    outcome = judgement.outcome
    return Verdict(
        table=judgement.table,
        version=judgement.version,
        check=judgement.check,
        passed=outcome.passed,
        partition=judgement.partition,
        blocking=judgement.blocking,
        evidence={"summary": outcome.summary, **outcome.evidence},
        run_id=run_id,
        actor="dagster",
    )
