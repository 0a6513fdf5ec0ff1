"""Who runs `python -m ml.train` for the asset `<model>/model`: a subprocess, or pods of a cluster.

Here: the interface and the local implementation. Not here: the one for Kubernetes (assets/pod_trainer.py).
"""

import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import dagster as dg

from ml.settings import Settings
from ml.spec import ModelSpec

NOTHING: Mapping[str, str] = MappingProxyType({})


class Trainer(Protocol):
    """Runs the training command under Dagster Pipes."""

    def train(
        self,
        context: dg.AssetExecutionContext,
        spec: ModelSpec,
        arguments: Sequence[str],
        env: Mapping[str, str] = NOTHING,
    ) -> dg.MaterializeResult:
        """Train `spec` with `arguments` of `python -m ml.train` and return what it reported.

        `env` are variables that the command finds besides those of its place; in a cluster they must hold no secret.

        Raises dg.Failure, or what Dagster Pipes raises, if it failed. Interrupted, it leaves nothing running.
        """


class SubprocessTrainer:
    """Trains beside this process, on this machine."""

    def train(
        self,
        context: dg.AssetExecutionContext,
        spec: ModelSpec,
        arguments: Sequence[str],
        env: Mapping[str, str] = NOTHING,
    ) -> dg.MaterializeResult:
        """Run the command as a child. Raises DagsterPipesExecutionError if it fails."""
        command = [sys.executable, "-m", "ml.train", *arguments]
        done = dg.PipesSubprocessClient().run(command=command, context=context, env=dict(env))
        return done.get_materialize_result()


def trainer_for(settings: Settings) -> Trainer:
    """Return the trainer of the environment that the settings name."""
    if settings.env == "local":
        return SubprocessTrainer()
    from assets.pod_trainer import PodTrainer

    return PodTrainer(settings)
