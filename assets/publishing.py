"""The publish stage: audited feature tables become the ones that training, servers and notebooks read.

One asset a table, guarded by the verdicts on exactly the versions it copies; online views are also
rebuilt in the online store as of the clock. Their drift checks are in `assets/drift.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import dagster as dg

from assets.automation import WHEN_CHECKED
from assets.column_lineage import columns_of
from assets.drift import feature_drift_check
from assets.freshness import freshness_check
from assets.metadata import preview, tell_months, whole_table
from assets.partitions import partitions_of
from assets.resources import Platform
from assets.step_pods import LARGE
from assets.views import admit_publish, record_published
from ml.feature_views import FeatureView
from ml.lake import PARTITION_KEY
from ml.months import Months
from ml.online_publish import rebuild
from ml.online_rows import open_online_rows
from ml.point_in_time import CREATED, EVENT
from ml.source import Source
from ml.spec import ModelSpec


def publishing_assets(
    platform: Platform, sources: Sequence[Source], models: Sequence[ModelSpec], months: Mapping[str, Months]
) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Return an asset for every feature view and outcome table, with its `months`, and the checks of the views."""
    views = {view.name: view for view in platform.feature_views}
    outcomes = {spec.outcome.table: spec.owner for spec in models}
    told = partial(columns_of, sources=sources, models=models)
    assets = [_asset(name, months[name], view, view.owner, view.description, told) for name, view in views.items()]
    assets += [_asset(name, months[name], None, owner, _asked(name, models), told) for name, owner in outcomes.items()]
    return [
        *assets,
        *(feature_drift_check(view, models, months[view.name]) for view in views.values()),
        *(freshness_check(view) for view in views.values() if view.online),
    ]


def _columns(view: FeatureView) -> tuple[str, ...]:
    return (*view.join_keys, EVENT, CREATED, PARTITION_KEY, *(field.name for field in view.fields))


def _asked(table: str, models: Sequence[ModelSpec]) -> str:
    names = [spec.name for spec in models if spec.outcome.table == table]
    return f"What {', '.join(names)} are asked, and what happened." if len(names) > 1 else f"Outcomes of {names[0]}."


def _asset(
    name: str,
    span: Months,
    view: FeatureView | None,
    owner: str,
    description: str,
    columns_told: Callable[..., dict[str, Any]],
) -> dg.AssetsDefinition:
    @dg.asset(
        key=["published", name],
        deps=[dg.AssetDep(["features", name])],
        partitions_def=partitions_of(span),
        backfill_policy=dg.BackfillPolicy.single_run(),
        automation_condition=WHEN_CHECKED,
        op_tags=LARGE,
        kinds={"delta", "feast"},
        owners=[owner],
        code_version="1",
        description=f"{description} Published: every check passed on the version it came from.",
        pool="publish",
    )
    def published(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        months = list(context.partition_keys)
        staged = platform.guard.admit(f"published/{name}", f"features/{name}", months)
        run = f"dagster run {context.run.run_id}"
        definitions = admit_publish(platform, name, staged) if view else None
        columns, keys = (_columns(view), view.join_keys) if view else ((), ())
        publication = platform.publications.publish(name, staged, run, columns=columns, keys=keys)
        if definitions:
            record_published(platform, definitions, name, run)
        rows = platform.lake.read(f"published/{name}", publication.version, months)
        count = whole_table(rows)
        context.log.info(f"published/{name}: {count} rows of {len(months)} months, version {publication.version}")
        tell_months(context, f"published/{name}", rows)
        metadata = {
            "dagster/row_count": whole_table(platform.lake.read(f"published/{name}", publication.version)),
            "dagster/table_name": f"published/{name}",
            "table version": str(publication.version),
            "months": ", ".join(months),
            "preview": dg.MetadataValue.md(preview(rows)),
            **columns_told(platform, table=f"published/{name}", schema=rows.collect_schema()),
        }
        if view and view.online:
            metadata["online keys"] = _rebuild_online(platform, name)
        return dg.MaterializeResult(metadata=metadata)

    return published


def _rebuild_online(platform: Platform, name: str) -> int:
    """Bring the online rows of one view to what is known by the clock; return how many keys it holds."""
    views = [view for view in platform.feature_views if view.name == name]
    rows = open_online_rows(platform.settings.online_store)
    return rebuild(views, platform.publications, rows, platform.clock.now())[name]
