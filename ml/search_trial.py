"""One trial of a search: train with its settings, judge on validation rows, record, and give up early.

Here: what happens between drawing a trial and telling how it ended. Not here: which settings are drawn
(ml/search_study.py), and processes (ml/search.py).
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
import torch
from optuna.trial import TrialState

from ml.folds import Fold
from ml.recording import Recording
from ml.registry import Registry
from ml.search_space import SearchSpace
from ml.search_study import AS_IT_IS, CUT, REASON, RUN, SearchStudy
from ml.spec import ModelSpec
from ml.training import Epoch, fit

KIND = "headwater.kind"
STATE = "state"
TRIAL = "trial"

_TENTHS = 10
_FAILURES = 5  # in a row: then it is not the settings


class OutOfTime(Exception):
    """The minutes are over: the trial is not finished."""


@dataclass(frozen=True)
class Trials:
    """What the trials of a search share. `until` is when all must have ended, as time.monotonic tells it."""

    spec: ModelSpec
    space: SearchSpace
    folds: tuple[Fold, ...]
    study: SearchStudy
    registry: Registry
    search: str
    device: torch.device
    until: float

    def run(self, trial: optuna.Trial) -> str | None:
        """Run one trial and tell how it ended; return why it failed, None if it did not.

        A trial fails where its settings do: the loss is no number, the memory is too small. Raises whatever else
        happens, such as a store that cannot be written.
        """
        spec = self.space.applied(trial.params, self.spec)
        tags = {KIND: TRIAL, TRIAL: trial.number, AS_IT_IS: trial.user_attrs.get(AS_IT_IS)}
        try:
            with self.registry.recording(spec.name, tags, f"trial {trial.number}", self.search) as run:
                trial.set_user_attr(RUN, run.run_id)
                run.params({**trial.params, "folds": len(self.folds), "device": str(self.device)})
                self._train(spec, trial, run)
        except (ValueError, ArithmeticError, MemoryError, RuntimeError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            trial.set_user_attr(REASON, reason)
            self.study.study.tell(trial, state=TrialState.FAIL)
            return reason
        return None

    def _train(self, spec: ModelSpec, trial: optuna.Trial, run: Recording) -> None:
        try:
            loss = self._judged(spec, trial, run)
        except optuna.TrialPruned:
            self.study.study.tell(trial, state=TrialState.PRUNED)
            run.tags({STATE: "pruned"})
        except OutOfTime:
            trial.set_user_attr(CUT, True)
            frozen = self.study.study.tell(trial, state=TrialState.PRUNED)
            self.study.again(frozen)
            run.tags({STATE: "pruned", REASON: "the minutes of the search were over; queued for the next"})
        except Exception as error:
            run.tags({STATE: "failed", REASON: " ".join(str(error).split()) or type(error).__name__})
            raise
        else:
            run.metrics({"validation_loss": loss})
            self.study.study.tell(trial, loss)
            run.tags({STATE: "complete"})

    def _judged(self, spec: ModelSpec, trial: optuna.Trial, run: Recording) -> float:
        """Return the mean over folds of the least validation loss, after calibration."""
        started, losses, answers = time.monotonic(), list[float](), list[np.ndarray]()
        for number, fold in enumerate(self.folds):
            prefix = f"fold_{number + 1}_" if len(self.folds) > 1 else ""
            report = _Reporter(trial, run, prefix, tuple(losses))
            left = self.until - time.monotonic()
            if left <= 0:
                raise OutOfTime
            model = fit(spec, fold.train, fold.validation, self.device, report, left)
            if model.stopped_by == "time":
                raise OutOfTime
            losses.append(model.best.validation_loss)
            answers.append(model.predict(fold.validation))
        seconds = time.monotonic() - started
        trial.set_user_attr("seconds", seconds)
        run.metrics({"seconds": seconds})
        loss = float(np.mean(losses))
        best = self.study.complete[:1]
        if trial.user_attrs.get(AS_IT_IS) or not best or loss <= (best[0].value or 0.0):
            np.savez(answers_file(self.study.folder, trial.number), *answers)
        return loss


@dataclass(frozen=True)
class _Reporter:
    """Told of each epoch of one fold: records it, and ends the trial where it does worse than the median of others.

    What Optuna compares are equal shares of the schedule, in tenths, not equal numbers of epochs: the learning rate
    comes down with the share, so that the second epoch of three is further on than the second of twelve.
    """

    trial: optuna.Trial
    run: Recording
    prefix: str
    before: tuple[float, ...]

    def __call__(self, epoch: Epoch) -> None:
        """Take an epoch. Raises optuna.TrialPruned where it is not worth going on."""
        named = {"epoch_train_loss": epoch.train_loss, "epoch_validation_loss": epoch.validation_loss}
        self.run.metrics({self.prefix + name: value for name, value in named.items()}, step=epoch.number)
        value = float(np.mean([*self.before, epoch.validation_loss]))
        first, last = ((epoch.number - 1) * _TENTHS // epoch.planned, epoch.number * _TENTHS // epoch.planned)
        for tenth in range(first + 1, last + 1):
            self.trial.report(value, len(self.before) * _TENTHS + tenth)
        if epoch.number < epoch.planned and not self.trial.user_attrs.get(AS_IT_IS) and self.trial.should_prune():
            raise optuna.TrialPruned


def answers_file(folder: Path, number: int) -> Path:
    """Return where a trial's answers to the validation rows are kept, an array a fold."""
    return folder / "answers" / f"{number}.npz"


def work(trials: Trials, most: int | None) -> None:
    """Run trials until there are to be no more. Raises RuntimeError if one after the other fails."""
    failures = 0
    while trial := trials.study.begin(trials.space.distributions, trials.search, most, trials.until):
        reason = trials.run(trial)
        failures = failures + 1 if reason else 0
        if failures == _FAILURES:
            raise RuntimeError(f"{failures} trials failed in a row, the last one because {reason}")
