"""The sensor that tells people what the audit trails say, every half minute. It starts nothing, so it is on by itself.

What it does is `assets.alerts.tell`. It waits a few seconds for the sinks, no longer: other sensors wait for it.
"""

import dagster as dg

from assets.alerts import tell
from assets.resources import Platform

LOOK_SECONDS = 30
WAIT_SECONDS = 5.0


def alerts_sensor() -> dg.SensorDefinition:
    """Return the sensor. Its tick fails, for people to see, when a sink did not take a message, or not in time."""

    @dg.sensor(
        name="alerts_sensor",
        minimum_interval_seconds=LOOK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells the webhook, the mail and the log file what the audit trails say (docs/alerts.md).",
    )
    def alerts(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SkipReason:
        deliveries = tell(platform, WAIT_SECONDS)
        lines = "\n".join(f"{delivery.sink}: {delivery.line}" for delivery in deliveries)
        if any(delivery.result in ("failed", "late") for delivery in deliveries):
            raise RuntimeError(lines)
        return dg.SkipReason(lines or "no sink of alerts is set")

    return alerts
