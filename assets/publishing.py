"""The publish stage: audited feature tables become the ones that training, servers and notebooks read.

One asset a table, guarded by the verdicts on exactly the versions it copies; online views are also
rebuilt in the online store as of the clock. The drift check here never blocks: it starts retraining.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta

import dagster as dg
import polars as pl

from assets.automation import WHEN_CHECKED
from assets.freshness import freshness_check
from assets.gates import Gate, gate_checks
from assets.metadata import column_schema, preview
from assets.partitions import MONTHS, with_look_back
from assets.resources import Platform
from assets.views import admit_publish, record_published
from checks.drift import CHECK, Bounds, check_drift
from checks.outcome import Outcome
from ml.feature_views import FeatureView
from ml.lake import PARTITION_KEY
from ml.online_publish import rebuild
from ml.online_rows import open_online_rows
from ml.point_in_time import CREATED, EVENT
from ml.spec import ModelSpec

GROUP = "publish"
REFERENCE_MONTHS = 3
LONGEST_MONTH = timedelta(days=31)  # rows valid for longer need not come anew every month
DRIFTED_SHARE = 0.5  # Evidently's own default for a table


def publishing_assets(
    platform: Platform, models: Sequence[ModelSpec]
) -> list[dg.AssetsDefinition | dg.AssetChecksDefinition]:
    """Return an asset for every feature view and outcome table, and the checks of the views."""
    views = {view.name: view for view in platform.feature_views}
    outcomes = {spec.outcome.table: spec for spec in models}
    assets = [_asset(name, view, view.owner, view.description) for name, view in views.items()]
    assets += [_asset(name, None, spec.owner, f"Outcomes of {spec.name}.") for name, spec in outcomes.items()]
    return [
        *assets,
        *(
            _drift_check(view, watched_columns(view.name, models), _bounds(view.name, models))
            for view in views.values()
        ),
        *(freshness_check(view) for view in views.values() if view.online),
    ]


def watched_columns(view: str, models: Iterable[ModelSpec]) -> list[str]:
    """Return the columns of a view that models use, less times and those that move with the season by nature."""
    references = {
        reference
        for spec in models
        for reference in spec.features
        if reference not in spec.gates.seasonal_features and reference not in {e.since for e in spec.elapsed}
    }
    return sorted(r.split(":")[1] for r in references if r.split(":")[0] == view)


def _columns(view: FeatureView) -> tuple[str, ...]:
    return (*view.join_keys, EVENT, CREATED, PARTITION_KEY, *(field.name for field in view.fields))


def _asset(name: str, view: FeatureView | None, owner: str, description: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=["published", name],
        deps=[dg.AssetDep(["features", name])],
        partitions_def=MONTHS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        automation_condition=WHEN_CHECKED,
        group_name=GROUP,
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
        count = rows.select(pl.len()).collect().item()
        context.log.info(f"published/{name}: {count} rows of {len(months)} months, version {publication.version}")
        metadata = {
            "dagster/partition_row_count": count,
            "dagster/column_schema": column_schema(rows.collect_schema()),
            "dagster/table_name": f"published/{name}",
            "table version": publication.version,
            "months": ", ".join(months),
            "preview": dg.MetadataValue.md(preview(rows)),
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


def _bounds(view: str, models: Sequence[ModelSpec]) -> Bounds:
    """The strictest model that reads the view says when one of its columns has moved."""
    distances = [spec.gates.max_feature_distance for spec in models if view in spec.views]
    return Bounds(min(distances, default=0.1), DRIFTED_SHARE)


def _drift_check(view: FeatureView, columns: Sequence[str], bounds: Bounds) -> dg.AssetChecksDefinition:
    gate = Gate(
        CHECK,
        f"Evidently: a month against the {REFERENCE_MONTHS} months before it, on the features that models use. Never "
        "blocks; a breach starts retraining.",
        lambda batch: _drift(batch.platform, view, batch.version, columns, bounds, batch.partition),
        blocking=False,
    )
    return gate_checks(
        f"published/{view.name}",
        [gate],
        partitioned=True,
        version=lambda platform: platform.publications.require(view.name).version,
    )


def _drift(
    platform: Platform, view: FeatureView, version: int, columns: Sequence[str], bounds: Bounds, month: str
) -> Outcome:
    before = [m for m in with_look_back([month], REFERENCE_MONTHS) if m != month]
    table = f"published/{view.name}"
    rows = platform.lake.read(table, version, [*before, month]).select(*columns, PARTITION_KEY).collect()
    current, reference = (
        rows.filter(pl.col(PARTITION_KEY) == month),
        rows.filter(pl.col(PARTITION_KEY) != month),
    )
    if not columns:
        return Outcome(True, f"no model watches a column of {view.name}: all move with the season by nature")
    if current.is_empty() and view.ttl > LONGEST_MONTH:
        return Outcome(True, f"{month} has no new rows of {view.name}; older ones are valid for {view.ttl.days} days")
    if reference.is_empty():
        return Outcome(True, f"{month} has no earlier published month to compare with")
    report = platform.settings.reports / "drift" / f"{view.name}-{month}-v{version}.html"
    return check_drift(reference, current, columns, bounds, report)
