"""How long it took from a breach to a proven model, step by step: the loop's runs, as Dagster recorded them."""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from assets.retraining import REASON, TAG
from ml.spec import ModelSpec

_WORDS = {
    "training_set": "point-in-time join",
    "training_set__training_rows": "gates of the training set (rows, parity, leakage)",
    "model": "training, refit, export, card",
    "model__promotion": "gates of the version (promotion, drift)",
    "deployment": "into Triton, verified, measured",
}


@dataclass(frozen=True)
class Retrained:
    """A run of the loop: why, and the seconds of each step, in order; and of the whole."""

    reason: str
    steps: tuple[tuple[str, float], ...]
    seconds: float


def retrainings(instance: dg.DagsterInstance, spec: ModelSpec) -> list[Retrained]:
    """Return the runs that the loop asked for and that ended, oldest first."""
    records = instance.get_run_records(dg.RunsFilter(job_name=f"{spec.name}_retrain"))
    asked = [record for record in reversed(records) if TAG in record.dagster_run.tags and record.end_time]
    return [
        Retrained(
            record.dagster_run.tags.get(REASON, ""),
            _steps(instance, record.dagster_run.run_id, spec),
            (record.end_time or 0) - (record.start_time or 0),
        )
        for record in asked
    ]


def shares(runs: Sequence[Retrained]) -> list[tuple[str, float, str]]:
    """Return each step's seconds, a mean over runs that took it, and its share of a whole run."""
    names = list(dict.fromkeys(name for run in runs for name, _ in run.steps))
    means = {name: _mean([seconds for run in runs for step, seconds in run.steps if step == name]) for name in names}
    whole = sum(means.values()) or 1.0
    return [(name, round(seconds, 1), f"{seconds / whole:.0%}") for name, seconds in means.items()]


def _steps(instance: dg.DagsterInstance, run_id: str, spec: ModelSpec) -> tuple[tuple[str, float], ...]:
    found = [s for s in instance.get_run_step_stats(run_id) if s.start_time and s.end_time]
    found.sort(key=lambda s: s.start_time or 0)
    return tuple((_word(spec, s.step_key), (s.end_time or 0) - (s.start_time or 0)) for s in found)


def _word(spec: ModelSpec, step: str) -> str:
    return _WORDS.get(step.removeprefix(f"{spec.name}__"), step)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)
