"""A process that lets the retraining sensor act, and trains for real, until nothing is left to do: to be killed."""

import sys
import warnings
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from assets.definitions import definitions_for
from assets.driver import Driver
from assets.resources import platform_for
from ml.models.flight_delay import FLIGHT_DELAY
from ml.settings import Settings

TRAIN_SECONDS = 6.0


def main(home: Path, grpc: int, metrics: int) -> None:
    """Act until no sensor wants anything more."""
    warnings.simplefilter("ignore")
    ports = {"triton_grpc_port": grpc, "triton_metrics_port": metrics}
    platform = platform_for(Settings(home=home, train_seconds=TRAIN_SECONDS, **ports))
    definitions = definitions_for(platform, models=[FLIGHT_DELAY])
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home / "dagster"))) as instance:
        Driver(definitions, instance, platform, home / "child.log").drive(["flight_delay_retraining_sensor"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
