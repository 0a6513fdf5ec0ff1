"""When things run by themselves: automation conditions, and the sensor that answers drift with retraining."""

from collections.abc import Iterator

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets.resources import Platform
from checks.drift import CHECK
from ml.fingerprint import json_hash
from ml.spec import ModelSpec

# Plain eager() goes ahead although a blocking check of its input failed; this does not.
WHEN_CHECKED = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()

SENSOR_SECONDS = 30


def retraining_job(spec: ModelSpec) -> UnresolvedAssetJobDefinition:
    """Return the job that makes a training set, a candidate, its gates and, if they pass, its deployment."""
    keys = [dg.AssetKey([spec.name, part]) for part in ("training_set", "model", "deployment")]
    return dg.define_asset_job(
        f"{spec.name}_retrain",
        selection=dg.AssetSelection.assets(*keys),
        description=f"Train {spec.name} on what is published, gate the candidate, deploy it if it passes.",
    )


def drift_sensor(spec: ModelSpec, job: UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """Return the sensor that starts `job` when the drift check fails on a table the model reads.

    Once per data version: the run key is the content of the months that drifted, so a retraining that
    runs the drift check again, or publishing the same rows again, starts nothing.
    """

    @dg.sensor(
        name=f"{spec.name}_retrain_on_drift",
        job=job,
        minimum_interval_seconds=SENSOR_SECONDS,
        description=f"Retrains {spec.name} when {CHECK} fails on a feature table it reads, once per data version.",
    )
    def on_drift(
        context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        breaches = [breach for view in spec.views for breach in _newest_breach(platform, view)]
        if not breaches:
            yield dg.SkipReason(f"no drift on {', '.join(spec.views)}")
            return
        reasons = "; ".join(f"{table}[{month}]: {summary}" for table, month, _, summary in breaches)
        yield dg.RunRequest(
            run_key=f"{spec.name}:{json_hash([breach[:3] for breach in breaches])[:16]}",
            tags={"headwater/reason": f"drift on {reasons}"[:250]},
        )

    return on_drift


def _newest_breach(platform: Platform, view: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield table, month, content hash and summary if the newest drift verdict on a view is a failure."""
    table = f"published/{view}"
    rows = platform.verdicts.rows(table).filter(check=CHECK).tail(1)
    for row in rows.filter(passed=False).iter_rows(named=True):
        verdict = platform.verdicts.newest(table, row["version"], row["partition"], CHECK)
        if verdict is not None and "content" in verdict.evidence:  # a check that crashed has judged no data
            yield table, row["partition"], str(verdict.evidence["content"]), str(verdict.evidence["summary"])
