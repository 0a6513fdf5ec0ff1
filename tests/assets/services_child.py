"""In the place of the demo, on its servers: a real table, a version, online rows; what processes show is read."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl

from assets.stages import Stages, run
from ml.clock import ReplayClock
from ml.registry import CHAMPION
from ml.scoring import example_feed
from tests.serving.example import AIRCRAFT, RAW, write_graph, write_online_rows

MODEL = "flight_delay"


def work(stages: Stages) -> None:
    """Do a little of everything that leaves state."""
    settings, registry = stages.platform.settings, stages.platform.registry
    ReplayClock(settings.clock_file).set(datetime(2014, 1, 2, tzinfo=UTC))
    stages.months(dg.AssetKey(["raw", "airlines"]), [""], "one table, checked")
    if registry.champion(MODEL) is None:
        path = write_graph(settings.root / "model.onnx", -3.0)
        with registry.recording(MODEL) as recording:
            recording.params({"epochs": 1})
            recording.metrics({"test_roc_auc": 0.75})
            number = recording.register(path, example_feed(path, pl.DataFrame([RAW]), 1))
        registry.set_aliases(MODEL, {CHAMPION: number})
    write_online_rows(settings.online_store, AIRCRAFT, [({"tailnum": "N1"}, (1, 2.5, "MIA"), datetime.now(UTC))])
    secrets = [file.read_text() for file in settings.root.glob("servers/*/*.password")]
    assert len(secrets) == 5
    for arguments in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            shown = arguments.read_text(errors="replace")
        except OSError:
            continue  # it has ended
        assert not [secret for secret in secrets if secret in shown], shown
    print("no password in any process's arguments", flush=True)


if __name__ == "__main__":
    sys.exit(run("slice", work))
