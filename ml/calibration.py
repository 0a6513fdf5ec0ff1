"""The scale and shift that make raw outputs agree with what happened."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

_STEPS = 50


@dataclass(frozen=True)
class Calibration:
    """Scale and shift of raw outputs, and the loss that they leave."""

    scale: float
    shift: float
    loss: float


def calibrate_logits(logits: Tensor, label: Tensor) -> Calibration:
    """Return the scale and shift of least log loss, in nats, on logits [N] with labels [N] of 0 and 1.

    Platt, Probabilistic Outputs for Support Vector Machines, 1999.
    """
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


def calibrate_line(raw: Tensor, target: Tensor) -> Calibration:
    """Return the scale (never negative) and shift of least squared error on raw outputs [N] with targets [N]."""
    raw, target = raw.double().cpu(), target.double().cpu()
    spread = raw - raw.mean()
    variance = spread.square().mean()
    scale = float((spread * (target - target.mean())).mean() / variance) if variance > 0 else 0.0
    scale = max(scale, 0.0)
    shift = float(target.mean() - scale * raw.mean())
    return Calibration(scale, shift, float((raw * scale + shift - target).square().mean()))
