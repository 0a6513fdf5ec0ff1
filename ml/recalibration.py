"""What a scale and shift of answers would save: fitted on some answers with labels, applied to others.

The same fit as `ml/calibration.py` makes when a model is trained, on numpy and scipy: a check that runs daily must not
import torch. Not here: when the gain is too large (checks/).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.spec import TaskName
from ml.weighted import log_losses

Numbers = NDArray[np.float64]

_LEAST = 1e-6  # a probability nearer to 0 or 1 counts as this far from it: its logit is finite


@dataclass(frozen=True)
class Recalibration:
    """Scale and shift, of logits where answers are probabilities."""

    scale: float
    shift: float


def row_losses(task: TaskName, labels: Numbers, answers: Numbers) -> Numbers:
    """Return each row's loss [N]: log loss in nats, or the squared error in the label's unit."""
    return log_losses(labels, answers) if task == "binary" else (labels - answers) ** 2


def recalibration(task: TaskName, labels: Numbers, answers: Numbers) -> Recalibration:
    """Return the scale (never negative) and shift of least loss on answers [N] with labels [N], at least one row.

    Of probabilities it is Platt's (Probabilistic Outputs for Support Vector Machines, 1999), on their logits; of values
    the line of least squares.
    """
    return _of_logits(labels, _logits(answers)) if task == "binary" else _of_values(labels, answers)


def recalibrated(task: TaskName, found: Recalibration, answers: Numbers) -> Numbers:
    """Return the answers [N] as they would have been."""
    if task != "binary":
        return found.scale * answers + found.shift
    return _sigmoid(found.scale * _logits(answers) + found.shift)


def _of_logits(labels: Numbers, logits: Numbers) -> Recalibration:
    from scipy.optimize import minimize

    def loss(weights: Numbers) -> tuple[float, Numbers]:
        # The scale is kept as its logarithm: one window's noise must not turn a model around.
        scale = np.exp(weights[0])
        raw = scale * logits + weights[1]
        away = _sigmoid(raw) - labels
        value = np.mean(np.logaddexp(0.0, raw) - labels * raw)
        return float(value), np.array([np.mean(away * logits) * scale, np.mean(away)])

    log_scale, shift = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-8, 8), (-30, 30)]).x
    return Recalibration(float(np.exp(log_scale)), float(shift))


def _of_values(labels: Numbers, answers: Numbers) -> Recalibration:
    spread = answers - answers.mean()
    variance = float(np.mean(spread**2))
    scale = max(float(np.mean(spread * labels)) / variance, 0.0) if variance > 0 else 0.0
    return Recalibration(scale, float(labels.mean() - scale * answers.mean()))


def _logits(answers: Numbers) -> Numbers:
    clipped = np.clip(answers, _LEAST, 1 - _LEAST)
    return np.log(clipped) - np.log1p(-clipped)


def _sigmoid(raw: Numbers) -> Numbers:
    return 1 / (1 + np.exp(-raw))
