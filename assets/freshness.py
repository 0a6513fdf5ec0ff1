"""The freshness check of every online view. What it judges is in `checks/freshness.py`."""

import dagster as dg

from assets.gates import Batch, Gate, gate_checks
from checks.freshness import CHECK, check_freshness
from checks.outcome import Outcome
from ml.feature_views import FeatureView
from ml.online_rows import open_online_rows


def freshness_check(view: FeatureView) -> dg.AssetChecksDefinition:
    """Return the check on published/<view> that reads the online store."""

    def judge(batch: Batch) -> Outcome:
        online = open_online_rows(batch.platform.settings.online_store).summary(view.name)
        return check_freshness(view, online, batch.platform.clock.now())

    told = f"The newest online row by the platform's clock is no older than the view's ttl ({view.ttl})."
    gate = Gate(CHECK, told, judge, blocking=False)
    return gate_checks(
        f"published/{view.name}", [gate], version=lambda platform: platform.publications.require(view.name).version
    )
