"""A code location of its own, with a sensor that remembers how often it was asked. Loaded by a code server in tests."""

import dagster as dg


@dg.asset
def counted() -> None:
    """Nothing; what a run of it leaves in the records is what is looked at."""


@dg.sensor(asset_selection=[counted], default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=1)
def counting(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Count its own ticks."""
    context.update_cursor(str(int(context.cursor or 0) + 1))
    return dg.SkipReason(f"asked {context.cursor} times before")


definitions = dg.Definitions(assets=[counted], sensors=[counting])
