"""A process that asks the example model and lets the trial sensor act, until its version serves: to be killed."""

import faulthandler
import signal
import sys
import time
import warnings
from pathlib import Path

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from assets.driver import Driver
from assets.rollout_job import rollout_job
from assets.trial import trial_sensor
from tests.assets.rollout_world import EXAMPLE, World, open_home

SPEC = EXAMPLE.model_copy(
    update={"serving": EXAMPLE.serving.model_copy(update={"shadow_rows": 100, "canary_share": 0.5})}
)
REQUESTS = 120


def main(home: Path, grpc: int, metrics: int, version: str) -> None:
    """Act until the version is champion. Asked with SIGUSR1, it tells where it is."""
    warnings.simplefilter("ignore")
    faulthandler.register(signal.SIGUSR1)
    platform = open_home(home, grpc, metrics)
    job = rollout_job(SPEC)
    definitions = dg.Definitions(jobs=[job], sensors=[trial_sensor(SPEC, job)], resources={"platform": platform})
    with dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home / "dagster"))) as instance:
        world = World(platform, instance)
        driver = Driver(definitions, instance, platform, home / "child.log")
        while world.lineup().get(version) != "champion":
            try:
                world.ask(REQUESTS)
            except (ConnectionError, LookupError, TimeoutError) as error:  # Triton was killed, too
                print(f"no answer: {error}", file=sys.stderr)
                time.sleep(0.5)
            driver.drive(["example_trial_sensor"])
        driver.drive(["example_trial_sensor"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
