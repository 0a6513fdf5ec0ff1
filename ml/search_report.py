"""What a search found: the best trials, which settings mattered, whether the gain is more than noise, what to paste.

Here: reading a study's outcome and saying it in words. Not here: running trials (ml/search_trial.py).
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from ml.bootstrap import Difference, Scorer, compare
from ml.folds import Fold
from ml.frozen import Frozen
from ml.search_space import SearchSpace
from ml.search_study import AS_IT_IS, SearchStudy
from ml.search_trial import answers_file
from ml.spec import ModelSpec
from ml.task import days, task_of

_SHOWN = 5
_IMPORTANCE_TRIALS = 8  # fewer say nothing about so many settings


@dataclass(frozen=True)
class Outcome:
    """What a search found out so far.

    `difference` compares the best trial with the spec as it is, by the task's score on the same validation rows;
    None where either is missing or both are one.
    """

    spec: ModelSpec
    best: FrozenTrial | None
    best_spec: ModelSpec
    reference: FrozenTrial | None
    difference: Difference | None
    importance: dict[str, float]
    ranked: list[FrozenTrial]
    counts: dict[str, int]

    @property
    def as_it_is(self) -> bool:
        """Whether nothing tried is better than the spec as it is."""
        return self.best is not None and self.best_spec == self.spec

    @property
    def beyond_noise(self) -> bool:
        """Whether the best trial's score is above the spec's in nearly all resamples of days."""
        return self.difference is not None and self.difference.low > 0

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-able."""
        return {
            "model": self.spec.name,
            "trial": None if self.best is None else self.best.number,
            "validation_loss": None if self.best is None else self.best.value,
            "validation_loss_as_it_is": None if self.reference is None else self.reference.value,
            "as_it_is": self.as_it_is,
            "beyond_noise": self.beyond_noise,
            "score": task_of(self.spec).score,
            "difference": None if self.difference is None else asdict(self.difference),
            "network": self.best_spec.network.model_dump(mode="json"),
            "training": self.best_spec.training.model_dump(mode="json"),
            "importance": self.importance,
            "trials": self.counts,
        }


def outcome_of(spec: ModelSpec, space: SearchSpace, folds: tuple[Fold, ...], study: SearchStudy) -> Outcome:
    """Read a study's outcome; `folds` are those that its trials were judged on."""
    ranked, reference = study.complete, study.reference
    best = ranked[0] if ranked else None
    best_spec = spec if best is None else space.applied(best.params, spec)
    difference = None
    if best is not None and reference is not None and best_spec != spec:
        difference = _compared(spec, folds, study.folder, reference, best)
    states = [trial.state for trial in study.trials]
    return Outcome(
        spec=spec,
        best=best,
        best_spec=best_spec,
        reference=reference,
        difference=difference,
        importance=_importance(study),
        ranked=ranked,
        counts={
            state.name.lower(): states.count(state)
            for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.WAITING)
        },
    )


def told(outcome: Outcome, train_seconds: float) -> list[str]:
    """Return the outcome in lines for people; `train_seconds` is what the pipeline lets a fit take."""
    counts = ", ".join(f"{number} {state}" for state, number in outcome.counts.items() if number)
    if outcome.best is None:
        return [f"no trial is complete ({counts}); run again with more --minutes: it goes on"]
    lines = [f"trials: {counts}", "", *_table(outcome), "", *_importance_lines(outcome), "", _verdict(outcome)]
    if not outcome.as_it_is:
        lines += ["", f"ml/models/{outcome.spec.name}.py:", *(f"    {line}" for line in snippet(outcome.best_spec))]
    seconds = outcome.best.user_attrs.get("seconds", 0.0)
    if seconds > train_seconds:
        lines.append(
            f"it took {seconds:.0f} s here; training ends at HEADWATER_TRAIN_SECONDS={train_seconds:g} with a shorter "
            "schedule, so raise that too"
        )
    return lines


def snippet(spec: ModelSpec) -> list[str]:
    """Return a spec's settings as keyword arguments to paste into it, without those at their default."""
    return [f"{part}={_constructed(getattr(spec, part))}," for part in ("network", "training")]


def _compared(
    spec: ModelSpec, folds: tuple[Fold, ...], folder: Path, reference: FrozenTrial, best: FrozenTrial
) -> Difference | None:
    validation = [fold.validation for fold in folds]
    scorers = [_scorer(spec, validation, answers_file(folder, trial.number)) for trial in (reference, best)]
    if scorers[0] is None or scorers[1] is None:
        return None
    groups = np.concatenate([days(spec, rows) for rows in validation])
    return compare(scorers[0], scorers[1], len(groups), groups)


def _scorer(spec: ModelSpec, validation: list[pl.DataFrame], answers: Path) -> Scorer | None:
    """Return the mean of the folds' scores as a function of all their rows' weights; None if the answers are gone."""
    if not answers.exists():
        return None
    task = task_of(spec)
    with np.load(answers) as kept:
        scorers = [
            task.scorer(rows[spec.outcome.label], kept[name]) for rows, name in zip(validation, kept.files, strict=True)
        ]
    ends = np.cumsum([rows.height for rows in validation])

    def score(weights: NDArray[np.float64]) -> float:
        parts = np.split(weights, ends[:-1])
        return float(np.mean([scorer(part) for scorer, part in zip(scorers, parts, strict=True)]))

    return score


def _importance(study: SearchStudy) -> dict[str, float]:
    if len(study.complete) < _IMPORTANCE_TRIALS:
        return {}
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    return get_param_importances(study.study, evaluator=FanovaImportanceEvaluator(seed=0))


def _table(outcome: Outcome) -> list[str]:
    shown = outcome.ranked[:_SHOWN]
    if outcome.reference is not None and outcome.reference not in shown:
        shown = [*shown, outcome.reference]
    fields = list(shown[0].params)
    rows = [["trial", "loss", "seconds", *(field.partition(".")[2] for field in fields)]]
    for trial in shown:
        name = f"{trial.number}{' as it is' if trial.user_attrs.get(AS_IT_IS) else ''}"
        values = [_short(trial.params[field]) for field in fields]
        rows.append([name, f"{trial.value:.5f}", f"{trial.user_attrs.get('seconds', 0.0):.1f}", *values])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _importance_lines(outcome: Outcome) -> list[str]:
    if not outcome.importance:
        return [f"which settings mattered cannot be told from fewer than {_IMPORTANCE_TRIALS} complete trials"]
    named = ", ".join(f"{field.partition('.')[2]} {share:.0%}" for field, share in outcome.importance.items())
    return [f"share of the loss's spread that each setting explains (fANOVA, {len(outcome.ranked)} trials): {named}"]


def _verdict(outcome: Outcome) -> str:
    if outcome.as_it_is:
        return "the best trial is the spec as it is: nothing to change"
    if outcome.reference is None:
        return "the spec as it is has no complete trial, so nothing says that the best one is better; run again"
    if outcome.difference is None:
        return "the answers of the best trial are gone from the study's folder, so it cannot be compared; run again"
    found, title = outcome.difference, task_of(outcome.spec).score_title
    gain = (
        f"{title} {found.difference:+.4f} against the spec as it is, {found.confidence:.0%} of resampled days between "
        f"{found.low:+.4f} and {found.high:+.4f}"
    )
    bias = (
        f"it is the best of {len(outcome.ranked)} on these very rows, so it looks better than it is; the promotion "
        "check judges it on the test window, which no trial has seen"
    )
    if outcome.beyond_noise:
        return f"better beyond noise: {gain}; {bias}"
    return f"within noise: {gain}; leave the spec as it is; {bias}"


def _constructed(settings: Frozen) -> str:
    fields = type(settings).model_fields
    changed = {name: value for name, value in settings if value != fields[name].get_default()}
    return f"{type(settings).__name__}({', '.join(f'{name}={value!r}' for name, value in changed.items())})"


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
