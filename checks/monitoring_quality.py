"""How good a window of answers was: against the version's held-out rows, and against a cheap refit of it.

`performance` asks whether it ranks as well as it did when it was promoted. `calibration` asks whether a scale and
shift, learned on the windows before, would have saved much of its loss: a storm raises every model's loss, and its
refit's too; a model that has grown stale is one that a refit beats (docs/monitoring.md).
"""

import numpy as np
import polars as pl

from checks.monitoring_plot import reliability
from checks.monitoring_window import Answers, HeldOut, Numbers, groups, numbers, spread
from checks.outcome import Outcome
from ml.bootstrap import Interval, interval
from ml.recalibration import recalibrated, recalibration, row_losses
from ml.spec import ModelSpec
from ml.task import task_of

PERFORMANCE, CALIBRATION = "performance", "calibration"


def check_performance(spec: ModelSpec, answers: Answers, held: HeldOut) -> Outcome:
    """Fail if the score lies below that on held-out rows by more than the bound, beyond noise.

    That is if the upper end of its 95% interval, days drawn whole, does.
    """
    task, allowed = task_of(spec), spec.monitoring.max_score_drop
    try:
        now = interval(task.scorer(*numbers(answers.labelled)), answers.labelled.height, groups(answers.labelled))
    except ValueError as error:  # such as labels of one class only
        return answers.not_judged(str(error))
    then, parts = held_out_score(spec, held)
    bound = then - allowed
    passed = now.high >= bound
    summary = (
        f"{task.score_title} {now.value:.3f} [{now.low:.3f}, {now.high:.3f}] on {answers.labelled.height:,} answers, "
        f"{then:.3f} on held-out rows; {'not ' if passed else ''}below {bound:.3f} beyond noise"
    )
    curves = {"held out": numbers(held.rows), "window": numbers(answers.labelled)}
    evidence = {task.score: spread(now), "held_out": then, "held_out_windows": parts, "bound": bound}
    return answers.outcome(passed, summary, evidence, reliability(curves, task.output))


def held_out_score(spec: ModelSpec, held: HeldOut) -> tuple[float, int]:
    """Return the score on held-out rows as a window's is, and of how many windows it is the mean, by rows.

    Over months a score is higher than in any week of them: it knows stormy days from calm ones, too. Held-out rows of
    less than a window, or too few of them, are scored together: 0 windows. Raises ValueError as the task's score does.
    """
    rows, task = held.rows, task_of(spec)
    place = (pl.col("time") - rows["time"].min()).dt.total_days() // spec.monitoring.window_days
    scores, weights = list[float](), list[int]()
    for _, part in rows.with_columns(place.alias("place")).group_by("place", maintain_order=True):
        if part.height >= spec.monitoring.min_rows and part["label"].n_unique() > 1:
            scores.append(task.scorer(*numbers(part))(np.ones(part.height)))
            weights.append(part.height)
    if not scores:
        return task.scorer(*numbers(rows))(np.ones(rows.height)), 0
    return float(np.average(scores, weights=weights)), len(scores)


def check_calibration(spec: ModelSpec, answers: Answers) -> Outcome:
    """Fail if a scale and shift learned on the windows before would have saved more than the bound, beyond noise.

    The gain is the mean of the differences of each row's losses, as a share of the mean loss. It must lie above the
    bound, and its 95% interval, days drawn whole, above 0.
    """
    learned, rows, least = answers.learned_from, answers.labelled, spec.monitoring.min_rows
    if learned.height < least:
        return answers.not_judged(f"{learned.height} answers of it with labels before this window, of at least {least}")
    labels, given = numbers(rows)
    found = recalibration(spec.task, *numbers(learned))
    changed = recalibrated(spec.task, found, given)
    losses = row_losses(spec.task, labels, given)
    if not losses.any():
        return answers.not_judged("it lost nothing")
    saved = losses - row_losses(spec.task, labels, changed)
    gain = _share(saved, losses, groups(rows))
    bound = spec.monitoring.max_recalibration_gain
    passed = not (gain.low > 0 and gain.value > bound)
    summary = (
        f"a scale of {found.scale:.3f} and shift of {found.shift:+.3f}, learned on {learned.height:,} answers before, "
        f"would have saved {gain.value:.1%} of its loss "
        f"[{gain.low:.1%}, {gain.high:.1%}]; bound {bound:.1%}, beyond noise"
    )
    evidence = {
        "gain": spread(gain),
        "bound": bound,
        "scale": found.scale,
        "shift": found.shift,
        "learned_from": learned.height,
        "loss": float(losses.mean()),
        "mean_answer": float(given.mean()),
        "mean_label": float(labels.mean()),
    }
    curves = {"as answered": (labels, given), "recalibrated": (labels, changed)}
    return answers.outcome(passed, summary, evidence, reliability(curves, task_of(spec).output))


def _share(saved: Numbers, losses: Numbers, days: Numbers | None) -> Interval:
    """Return the share of the loss that was saved, with its interval; both are sums of the same rows."""

    def share(weight: Numbers) -> float:
        total = float(weight @ losses)
        return float(weight @ saved) / total if total > 0 else float(np.nan)

    return interval(share, len(losses), days)
