"""The one assembly: everything is wired here and nowhere else. Nothing connects to anything at import."""

from collections.abc import Sequence

import dagster as dg

from assets.alerts_sensor import alerts_sensor
from assets.deployment import deployment_asset
from assets.executor import executor_for
from assets.features import dbt_resource, feature_assets, feature_checks, history_months
from assets.links import with_links
from assets.monitor import monitor_job, monitor_sensor
from assets.monitoring import predictions_asset
from assets.notebooks import notebook_assets
from assets.outcomes import outcomes_assets
from assets.partitions import table_months
from assets.performance import performance_asset
from assets.performance_checks import performance_checks
from assets.progress import progress_logger
from assets.publishing import publishing_assets
from assets.quarantine import quarantine_asset
from assets.raw import raw_assets
from assets.resources import Platform, platform_for
from assets.retraining import retraining_job, retraining_schedules, retraining_sensor
from assets.rollout_job import rollout_job
from assets.scores import scores_assets
from assets.served_parity import served_parity_check
from assets.trainer import trainer_for
from assets.training import training_assets
from assets.trial import trial_sensor
from checks.suite import feature_tables, judged_tables, refuse_strangers
from checks.tables import refuse_unknown_tables
from ml.feature_views import require_features
from ml.models import MODELS
from ml.outcome_table import require_outcome
from ml.settings import Settings
from ml.source import Source
from ml.sources import SOURCES
from ml.spec import ModelSpec


def build_definitions(environment: str | None = None) -> dg.Definitions:
    """Return the whole lineage for an environment (default: the one HEADWATER_ENV names).

    Raises LookupError if dbt's manifest has not been built or the environment is not available, ValueError if a suite
    file or a check belongs to no table.
    """
    settings = Settings() if environment is None else Settings(env=environment)
    definitions = definitions_for(platform := platform_for(settings))
    refuse_strangers(SOURCES, platform.manifest)
    refuse_unknown_tables(judged_tables(SOURCES, platform.manifest))
    return definitions


def definitions_for(
    platform: Platform, sources: Sequence[Source] = SOURCES, models: Sequence[ModelSpec] = MODELS
) -> dg.Definitions:
    """Return the whole lineage of `sources` and `models` on the given parts.

    Raises LookupError if dbt's manifest has not been built, or lacks a view or feature that a model reads.
    """
    for spec in models:
        require_features(spec.name, spec.features, platform.feature_views)
        require_outcome(spec, platform.manifest)
    line = _line(platform, sources, models)
    assets = [item for item in line if not isinstance(item, dg.AssetChecksDefinition)]
    jobs = {spec.name: retraining_job(spec) for spec in models}
    rollouts = {spec.name: rollout_job(spec) for spec in models}
    monitors = {spec.name: monitor_job(spec) for spec in models}
    return dg.Definitions(
        assets=with_links(platform, sources, models, assets),
        asset_checks=[item for item in line if isinstance(item, dg.AssetChecksDefinition)],
        jobs=[*jobs.values(), *rollouts.values(), *monitors.values()],
        sensors=[
            alerts_sensor(),
            *(retraining_sensor(spec, jobs[spec.name]) for spec in models),
            *(trial_sensor(spec, rollouts[spec.name]) for spec in models),
            *(monitor_sensor(spec, monitors[spec.name]) for spec in models),
        ],
        schedules=[schedule for spec in models for schedule in retraining_schedules(spec, jobs[spec.name])],
        resources={"platform": platform, "dbt": dbt_resource(platform), "trainer": trainer_for(platform.settings)},
        loggers={"console": dg.colored_console_logger, "progress": progress_logger},
        executor=executor_for(platform.settings),
    )


def _line(
    platform: Platform, sources: Sequence[Source], models: Sequence[ModelSpec]
) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Return the assets and checks from the sources to what is answered."""
    manifest, views = platform.manifest, platform.feature_views
    months, learning = table_months(manifest, sources), history_months(manifest, sources)
    return [
        *raw_assets(sources),
        *feature_assets(platform, sources),
        *(feature_checks(manifest, name, months[name], learning[name]) for name in feature_tables(manifest)),
        *publishing_assets(platform, sources, models, months),
        *(part for spec in models for part in training_assets(spec, sources)),
        *(deployment_asset(spec) for spec in models),
        *(predictions_asset(spec) for spec in models),
        *(part for spec in models for part in scores_assets(spec, views, months[spec.outcome.table])),
        *(served_parity_check(spec) for spec in models),
        *(part for spec in models for part in outcomes_assets(spec)),
        *(part for spec in models for part in (performance_asset(spec), performance_checks(spec))),
        quarantine_asset(),
        *notebook_assets(platform, sources, models),
    ]


defs = build_definitions()
