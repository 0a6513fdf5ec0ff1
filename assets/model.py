"""`make model`: one model from its raw tables to Triton, whatever of it is out of date."""

import argparse

from assets.command import require_given
from assets.quiet import leave
from assets.stages import Stages, run, say
from ml import remedies
from ml.models import MODEL_NAMES, model_named
from ml.task import task_of
from serving.fleet import server_for


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m assets.model",
        description="Bring one model up to date: its raw and feature tables, training set, training, gates, Triton.",
    )
    parser.add_argument("name", nargs="?", default="", help="a file in ml/models")
    name = parser.parse_args().name
    require_given("model", NAME=(name, MODEL_NAMES))
    return run("model", lambda stages: _bring(stages, name))


def _bring(stages: Stages, name: str) -> None:
    platform, spec = stages.platform, model_named(name)
    stages.tables(name)
    stages.model(name)
    say("triton", "one Triton on loopback, models loaded through its control API")
    server_for(platform.settings).start()
    champion = platform.registry.champion(name)
    if champion is None:
        raise LookupError(f"no champion for {name!r}: deploy a version that passed its gates")
    metrics, task = champion.metrics, task_of(spec)
    print(
        f"\nVersion {champion.version} of {name} serves. {spec.description}\n"
        f"On test rows: {task.score_title} {metrics[f'test_{task.score}']:.3f}, "
        f"calibration error {metrics['test_calibration_error']:.4f}.\n"
        f"  {remedies.here('make mlflow')}      its model card, the verdict with its evidence, provenance\n"
        f"  ask it           .venv/bin/python -m serving.client {name}   (says which fields it takes)"
    )


if __name__ == "__main__":
    leave(main())
