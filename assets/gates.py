"""One builder for the checks of a table: judged a partition at a time, recorded in the lake, mirrored in Dagster.

A check that crashes is a failed verdict with its traceback, never a missing one. What is judged stands in `checks`.
"""

import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dagster as dg
import polars as pl
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,  # not exported, and an evaluation needs it
)

from assets.mirror import Judgement, evaluation, record
from assets.partitions import partitions_of
from assets.quarantine import refresh
from assets.resources import Platform
from assets.step_pods import LARGE
from checks.guard import name_of
from checks.outcome import Outcome
from checks.table_check import TableCheck
from checks.tables import checks_of
from ml.lake import WHOLE
from ml.months import Months


@dataclass(frozen=True)
class Batch:
    """What a gate judges: one version of one partition of a table."""

    platform: Platform
    table: str
    version: int
    partition: str = WHOLE
    run_id: str = ""

    @cached_property
    def rows(self) -> pl.DataFrame:
        """The rows of that version and partition, read once for all gates."""
        names = [self.partition] if self.partition else None
        return self.platform.lake.read(self.table, self.version, names).collect()


@dataclass(frozen=True)
class Gate:
    """A named check on a batch."""

    name: str
    description: str
    judge: Callable[[Batch], Outcome]
    blocking: bool = True

    def judgement(self, batch: Batch) -> Judgement:
        """Judge a batch. A crash is an outcome too: what cannot be judged has not passed."""
        try:
            outcome = self.judge(batch)
        except Exception as error:
            problem = f"the check itself failed: {type(error).__name__}: {' '.join(str(error).split())[:400]}"
            outcome = Outcome(False, problem, {"traceback": traceback.format_exc()})
        return Judgement(batch.table, batch.version, self.name, outcome, batch.partition, self.blocking)


def own_gates(table: str) -> list[Gate]:
    """Return the gates that files in `checks/tables` add to a table."""

    def gate(check: TableCheck) -> Gate:
        return Gate(
            check.name, check.description, lambda batch: check.judge(batch.rows, batch.partition), check.blocking
        )

    return [gate(check) for check in checks_of(table)]


def judge(platform: Platform, table: str, gates: Sequence[Gate], partitions: Sequence[str], run_id: str) -> None:
    """Judge what last wrote each partition outside of Dagster, and record the verdicts."""
    for partition, version in sorted(platform.lake.partition_versions(table, partitions).items()):
        batch = Batch(platform, table, version, partition, run_id)
        record(platform, run_id, [gate.judgement(batch) for gate in gates])


Version = Callable[[Platform], int]
Requirement = Callable[[Platform, dg.DagsterInstance], None]


def gate_checks(
    table: str,
    gates: Sequence[Gate],
    *,
    months: Months | None = None,
    version: Version | None = None,
    require: Requirement | None = None,
) -> dg.AssetChecksDefinition:
    """Return the checks of the asset called `table`, run together, each of them alone if so selected.

    `months` are the table's partitions, None if the checks are about the whole of it. `version` tells which version is
    judged, where it is not the one that last wrote the partition. `require` raises where there is nothing that may be
    judged.
    """
    key, by_name = dg.AssetKey(table.split("/")), {gate.name: gate for gate in gates}
    specs = _specs(key, gates, months)

    @dg.multi_asset_check(name="__".join([*key.path, gates[0].name]), specs=specs, can_subset=True, op_tags=LARGE)
    def judged(context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]) -> Iterator[Any]:
        selected = [by_name[name] for name in by_name if name in {k.name for k in context.selected_asset_check_keys}]
        if require is not None:
            require(platform, context.instance)
        for batch in _batches(context, platform, table, months is not None, version):
            judgements = [gate.judgement(batch) for gate in selected]
            record(platform, context.run.run_id, judgements)
            refresh(context.instance, platform, any(j.blocking and not j.outcome.passed for j in judgements))
            yield from mirrored(context.instance, platform, key, judgements)
            for judgement in judgements:
                tell = context.log.debug if judgement.outcome.passed else context.log.warning
                tell(line_of(judgement))
        for spec in specs:
            if spec.key in context.selected_asset_check_keys:
                yield dg.Output(None, spec.get_python_identifier())

    return judged


def _specs(key: dg.AssetKey, gates: Sequence[Gate], months: Months | None) -> list[dg.AssetCheckSpec]:
    partitions = partitions_of(months) if months else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # checks with partitions: what they are for is tested here
        return [
            dg.AssetCheckSpec(
                gate.name,
                asset=key,
                blocking=gate.blocking,
                description=gate.description,
                partitions_def=partitions,
            )
            for gate in gates
        ]


def mirrored(
    instance: dg.DagsterInstance, platform: Platform, asset: dg.AssetKey, judgements: Sequence[Judgement]
) -> Iterator[dg.AssetCheckEvaluation]:
    """Yield Dagster's view of judgements on one batch, with the materialization that they are about."""
    target = _target(instance, asset, judgements[0].partition)
    for judgement in judgements:
        active = platform.overrides.active(judgement.table)
        granted = [o for o in active if _names(judgement) == (o.version, o.partition, o.check)]
        yield evaluation(platform, asset, judgement, granted[0] if granted else None, target)


def line_of(judgement: Judgement) -> str:
    """Return what the run's log says; what only warns is told in a few words, all of it stands with the check."""
    outcome = judgement.outcome
    verdict = "passed" if outcome.passed else "FAILED" if judgement.blocking else "warns"
    told = outcome.short if verdict == "warns" and outcome.short else outcome.summary
    return f"{name_of(judgement.table, judgement.partition)} {judgement.check} {verdict}: {told}"


def _names(judgement: Judgement) -> tuple[int, str, str]:
    return judgement.version, judgement.partition, judgement.check


def _batches(
    context: dg.AssetCheckExecutionContext,
    platform: Platform,
    table: str,
    partitioned: bool,
    version: Version | None,
) -> Iterator[Batch]:
    """Yield the batches of the run; of a partitioned table without a partition named, all that have landed."""
    run, run_id = context.op_execution_context, context.run.run_id
    named = [WHOLE] if not partitioned else sorted(run.partition_keys) if run.has_partitions else None
    if version is not None:
        yield from (Batch(platform, table, version(platform), name, run_id) for name in named or [])
        return
    versions = platform.lake.partition_versions(table, named)
    missing = sorted(set(named or versions) - set(versions))
    if missing or not versions:
        raise LookupError(f"{name_of(table, (missing or [''])[0])} has not been materialized; materialize it first")
    yield from (Batch(platform, table, versions[name], name, run_id) for name in sorted(versions))


def _target(instance: dg.DagsterInstance, asset: dg.AssetKey, partition: str) -> Target | None:
    """Return the newest materialization of the partition: Dagster asks whether a check looked at it."""
    wanted: Any = dg.AssetRecordsFilter(asset, asset_partitions=[partition]) if partition else asset
    records = instance.fetch_materializations(wanted, limit=1).records
    if not records:
        return None
    newest = records[0]
    return Target(storage_id=newest.storage_id, run_id=newest.run_id, timestamp=newest.timestamp)
