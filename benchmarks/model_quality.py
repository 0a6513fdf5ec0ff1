"""How good flight_delay's answers are on October to December, against LightGBM tuned on the same rows and features.

Both learn and are tuned on January to September only: the network with the settings in its spec (searched for on the
same months, `make search`), LightGBM by Optuna for MINUTES (20 by default) here and now. Three seeds each; the one of
middling score is shown with its interval (days drawn whole). Needs the state that `make demo` leaves.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks._lightgbm_peer import tuned_lightgbm
from benchmarks.report import conclude
from ml.bootstrap import Difference, compare, interval
from ml.cost import row_microseconds
from ml.export import export
from ml.lake import Lake
from ml.models import model_named
from ml.settings import Settings
from ml.split import Parts, split_rows
from ml.task import Binary, days
from ml.training import Epoch, fit

SPEC = model_named("flight_delay")
SEEDS = 3
MIN_SCORE, BEHIND, MAX_ECE, MAX_ROW_US = 0.775, 0.003, 0.02, 20.0
TARGET = 0.78


def main() -> None:
    """Measure and print. Raises LookupError if there is no training set."""
    minutes = float(os.environ.get("MINUTES", "20"))
    settings = Settings()
    rows = Lake(settings.lake).read(f"{SPEC.name}/training_set").collect()
    parts = split_rows(SPEC, rows)
    print(f"{parts.train.height:,} train, {parts.validation.height:,} validation, {parts.test.height:,} test rows")
    ours, row_us = _ours(parts)
    print(f"LightGBM: {minutes:g} minutes of Optuna", flush=True)
    peer = tuned_lightgbm(SPEC, parts, minutes, SEEDS, lambda line: print("  " + line, flush=True))
    print(f"  {peer.trials} trials in {peer.seconds:.0f} s; best {peer.settings}")
    results = [_Result("network", parts, ours), _Result("LightGBM", parts, peer.answers)]
    _print(parts, results, row_us)
    against = _against(parts, results[0].middling, results[1].middling)
    print(f"network - LightGBM: {against.difference:+.4f} [{against.low:+.4f}, {against.high:+.4f}], days drawn whole")
    ece = Binary().evaluate(parts.test[SPEC.outcome.label], results[0].middling).calibration_error
    score, other = results[0].score, results[1].score
    holds = score >= MIN_SCORE and score >= other - BEHIND and ece <= MAX_ECE and row_us <= MAX_ROW_US
    conclude(
        "model_quality",
        score / other,
        (other - BEHIND) / other,
        holds=holds,
        roc_auc=round(score, 4),
        lightgbm_roc_auc=round(other, 4),
        min_roc_auc=MIN_SCORE,
        target=TARGET,
        calibration_error=round(ece, 4),
        row_us=round(row_us, 2),
        seeds=[round(value, 4) for value in results[0].scores],
    )


@dataclass(frozen=True)
class _Result:
    """Answers [N] a seed on the test rows."""

    name: str
    parts: Parts
    answers: list[NDArray]

    @property
    def scores(self) -> list[float]:
        """The score of each seed."""
        label = self.parts.test[SPEC.outcome.label]
        return [Binary().evaluate(label, answers).score for answers in self.answers]

    @property
    def score(self) -> float:
        """The median of the seeds' scores."""
        return float(np.median(self.scores))

    @property
    def middling(self) -> NDArray:
        """The answers of the seed whose score is nearest the median."""
        return self.answers[int(np.argmin(np.abs(np.array(self.scores) - self.score)))]


def _ours(parts: Parts) -> tuple[list[NDArray], float]:
    answers, row_us = [], 0.0
    for seed in range(1, SEEDS + 1):
        spec = SPEC.model_copy(update={"training": SPEC.training.model_copy(update={"seed": seed})})
        model = fit(spec, parts.train, parts.validation, torch.device("cpu"), _progress, max_seconds=3600)
        print(f"  network, seed {seed}: {model.seconds:.0f} s, kept epoch {model.best.number}", flush=True)
        answers.append(model.predict(parts.test))
        with TemporaryDirectory() as folder:
            export(model, file := Path(folder) / "model.onnx")
            row_us = max(row_us, row_microseconds(file, parts.test))
    return answers, row_us


def _progress(epoch: Epoch) -> None:
    print(f"    epoch {epoch.number}: validation loss {epoch.validation_loss:.5f}, {epoch.seconds:.0f} s", flush=True)


def _against(parts: Parts, ours: NDArray, peer: NDArray) -> Difference:
    task, label = Binary(), parts.test[SPEC.outcome.label]
    return compare(task.scorer(label, peer), task.scorer(label, ours), parts.test.height, days(SPEC, parts.test))


def _print(parts: Parts, results: list[_Result], row_us: float) -> None:
    task, label = Binary(), parts.test[SPEC.outcome.label]
    print(f"\n{'':<10}{'ROC AUC':>9} {'95% interval':>20}{'PR AUC':>8}{'log loss':>10}{'ECE':>8}   seeds")
    for result in results:
        found = task.evaluate(label, result.middling)
        span = interval(task.scorer(label, result.middling), parts.test.height, days(SPEC, parts.test))
        print(
            f"{result.name:<10}{found.roc_auc:>9.4f} {f'[{span.low:.4f}, {span.high:.4f}]':>20}{found.pr_auc:>8.4f}"
            f"{found.log_loss:>10.4f}{found.calibration_error:>8.4f}   {[round(s, 4) for s in result.scores]}"
        )
    print("\nby month" + "".join(f"{result.name + ' AUC':>16}{'ECE':>8}" for result in results))
    month = parts.test[SPEC.outcome.prediction_time].dt.strftime("%Y-%m")
    for value in month.unique().sort():
        chosen = (month == value).to_numpy()
        metrics = [task.evaluate(label.to_numpy()[chosen], result.middling[chosen]) for result in results]
        print(f"{value:<8}" + "".join(f"{m.roc_auc:>16.4f}{m.calibration_error:>8.4f}" for m in metrics))
    print(f"\nONNX Runtime, batch 256, one core: {row_us:.1f} microseconds a row (bar {MAX_ROW_US:g})")


if __name__ == "__main__":
    main()
