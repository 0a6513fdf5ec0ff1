"""Platt scaling: the scale and shift of logits that make probabilities agree with frequencies.

Platt, Probabilistic Outputs for Support Vector Machines, 1999.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

_STEPS = 50


@dataclass(frozen=True)
class Calibration:
    """Platt's scale and shift of the logits, and the log loss that they leave."""

    scale: float
    shift: float
    loss: float


def calibrate(logits: Tensor, label: Tensor) -> Calibration:
    """Return the scale and shift of least log loss on logits [N] with labels [N]."""
    logits, label = logits.double().cpu(), label.double().cpu()
    # The scale is kept as its logarithm: one window's noise must not turn a model around.
    weights = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = binary_cross_entropy_with_logits(logits * weights[0].exp() + weights[1], label)
        value.backward()
        return value

    optimizer.step(loss)
    log_scale, shift = weights.detach().tolist()
    return Calibration(math.exp(log_scale), shift, loss().item())
