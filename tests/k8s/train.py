"""A step that trains in pods: `python -m tests.k8s.train RESOURCES VERSION [words of ml.train]`, for tests to watch."""

import dataclasses
import json
import sys

import dagster as dg

from assets.pod_trainer import PodTrainer
from ml.models.flight_delay import FLIGHT_DELAY
from ml.pod_resources import PodResources
from ml.settings import Settings
from tests.k8s.world import TABLE, repository, told


def main(resources: str, version: str, *words: str) -> int:
    """Train; print what happens, and last the metadata of the materialization as JSON."""
    settings, asked = Settings(), PodResources.model_validate_json(resources)
    training = FLIGHT_DELAY.training.model_copy(update={"resources": asked})
    spec = FLIGHT_DELAY.model_copy(update={"training": training})
    trainer = PodTrainer(settings, told("PYTHON", "python"), repository(), poll_seconds=0.2, pull_minutes=0.2)
    if lost := told("LOST_SECONDS", ""):
        trainer = dataclasses.replace(trainer, lost_seconds=float(lost))
    home = settings.root
    arguments = [
        *("--model", "flight_delay", "--training-set", f"{home}/lake/{TABLE}", "--version", version),
        *("--tracking-uri", f"sqlite:///{home}/mlflow/mlflow.db", "--artifacts", f"{home}/artifacts"),
        *("--out", f"{home}/out", "--checkpoint", f"{home}/checkpoint-{version}", *words),
    ]

    @dg.asset(key=["flight_delay", "model"])
    def model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        return trainer.train(context, spec, arguments)

    try:
        done = dg.materialize([model], instance=dg.DagsterInstance.ephemeral())
    except dg.Failure as error:
        print(f"FAILED {error.description}", flush=True)
        return 1
    except dg.DagsterExecutionInterruptedError:
        print("INTERRUPTED", flush=True)
        return 2
    (event,) = done.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    print("DONE " + json.dumps({k: v for k, v in metadata.items() if isinstance(v, str | int | float)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
