"""The platform's own definitions with one more sensor: a delivery is told by a file, and the sensor asks for its run.

Only the harness of faults loads this, so that the daemon has a sensor to evaluate.
"""

import json
from collections.abc import Iterator

import dagster as dg

from assets import definitions
from ml.settings import Settings

ARRIVED = "arrived.json"


@dg.sensor(
    asset_selection=dg.AssetSelection.groups("raw", "staging", "features", "published"),
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def on_arrival(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Ask for one run from the source to what is published, once a delivery."""
    note = Settings().root / ARRIVED
    if not note.exists():
        yield dg.SkipReason("nothing arrived")
        return
    told = json.loads(note.read_text())
    keys = [dg.AssetKey(path) for path in told["assets"]]
    yield dg.RunRequest(run_key=str(told["at"]), partition_key=told["month"], asset_selection=keys)


defs = dg.Definitions.merge(definitions.defs, dg.Definitions(sensors=[on_arrival]))
