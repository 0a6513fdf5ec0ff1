"""The freshness check of every online view. What it judges is in `checks/freshness.py`."""

import dagster as dg

from assets.mirror import record
from assets.resources import Platform
from checks.freshness import CHECK, check_freshness
from ml.feature_views import FeatureView
from ml.online_rows import open_online_rows


def freshness_check(view: FeatureView) -> dg.AssetChecksDefinition:
    """Return the check on published/<view> that reads the online store."""

    @dg.asset_check(
        asset=["published", view.name],
        name=CHECK,
        blocking=False,
        description=f"The newest online row by the platform's clock is no older than the view's ttl ({view.ttl}).",
    )
    def online_freshness(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> dg.AssetCheckResult:
        publication = platform.publications.current(view.name)
        if publication is None:
            raise LookupError(f"nothing is published of {view.name!r}; materialize published/{view.name} first")
        online = open_online_rows(platform.settings.online_store).summary(view.name)
        return record(
            platform,
            context.run.run_id,
            check_freshness(view, online, platform.clock.now()),
            table=f"published/{view.name}",
            version=publication.version,
            check=CHECK,
            blocking=False,
        )

    return online_freshness
