"""One step of learning: forward, loss, backward, AdamW, and the running average of the weights.

Here: what a step does on a device, alone or with other processes. Not here: which rows it sees and when it ends
(ml/loop.py).
"""

import copy
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ml.batches import Batch
from ml.network import TabularNetwork
from ml.objective import Objective
from ml.spec import TrainingSettings
from ml.world import World

_WARM_UP = 0.05  # share of the steps in which the learning rate climbs

Say = Callable[[str], None]


class Step:
    """The network that learns, its optimizer, and the average of its weights over the steps.

    What is validated and kept is the average: it varies less with the seed than the last weights
    (polynomial-decay averaging: Shamir and Zhang, Stochastic Gradient Descent for Non-smooth
    Optimization, ICML 2013, section 4).

    Args:
        network: On its device; all processes hold the same weights.
        objective: Gives the loss.
        settings: Of the optimizer.
        steps: Planned in all, for the schedule of the learning rate.
        world: Whose gradients are averaged.
        say: Told if the network cannot be compiled.
    """

    def __init__(
        self,
        network: TabularNetwork,
        objective: Objective,
        settings: TrainingSettings,
        steps: int,
        world: World,
        say: Say,
    ) -> None:
        self.network, self.objective, self.settings = network, objective, settings
        self.steps, self.world = steps, world
        self.average = copy.deepcopy(network)
        device = network.scale.device
        self._forward = _shared(Outputs(network, say if device.type == "cuda" else None), device, world)
        self._precision = _precision(device)
        self._optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self._weights: list[Tensor] = list(network.parameters())
        self._averages: list[Tensor] = list(self.average.parameters())

    def learn(self, batch: Batch, number: int, weight: float) -> Tensor:
        """Learn from a batch, as step `number` from 0 on; return its mean loss, on the device and not waited for.

        `weight` is what its mean counts beside those of other processes; a process may have no row of a batch.
        """
        self._set_learning_rate(number)
        self._optimizer.zero_grad(set_to_none=True)
        with self.world.guarded():
            with self._precision():
                outputs = self._forward(batch.categorical, batch.numeric, batch.times)
            outputs = outputs.float()
            # Every process takes part in averaging the gradients, also with no rows.
            loss = self.objective.loss(outputs, batch.target) if len(batch) else outputs.sum()
            (loss if self.world.alone else loss * weight).backward()
        self._optimizer.step()
        # The weight of the newest falls with the step, so that the random start is forgotten.
        with torch.no_grad():
            torch._foreach_lerp_(self._averages, self._weights, 2 / (number + 2))
        return loss.detach()

    def averaged(self) -> TabularNetwork:
        """Return the network of averaged weights, its buffers as they are now."""
        for kept, current in zip(self.average.buffers(), self.network.buffers(), strict=True):
            kept.copy_(current)
        return self.average

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on, but the random generators."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` returned."""
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])

    def _set_learning_rate(self, number: int) -> None:
        done = number / self.steps
        rise, fall = done / _WARM_UP, 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * min(rise + 0.01, fall)


class Outputs(nn.Module):
    """The network as what is trained: its outputs [N, 1 + A]; compiled, or as it is and a line if that fails."""

    def __init__(self, network: TabularNetwork, say: Say | None, backend: Any = "inductor") -> None:
        super().__init__()
        self.network, self._say = network, say
        self._call: Callable[..., Tensor] = network.outputs
        if say is not None:
            self._call = torch.compile(network.outputs, backend=backend)

    def forward(self, categorical: Tensor, numeric: Tensor, times: Tensor) -> Tensor:
        """Return the answer before calibration and the auxiliary outputs, float32 [N, 1 + A]."""
        if self._say is None:
            return self._call(categorical, numeric, times)
        try:
            return self._call(categorical, numeric, times)
        except Exception as error:  # a compiler fails in many ways; what is wrong with the network fails again below
            reason = str(error).strip().splitlines()[:2]
            self._say(f"the network is not compiled: {type(error).__name__} {' '.join(reason)}; training goes on as is")
            self._say, self._call = None, self.network.outputs
            return self._call(categorical, numeric, times)


def _shared(outputs: Outputs, device: torch.device, world: World) -> Callable[..., Tensor]:
    if world.alone:
        return outputs
    from torch.nn.parallel import DistributedDataParallel

    with world.guarded():
        ids = [torch.cuda.current_device()] if device.type == "cuda" else None
        return DistributedDataParallel(outputs, device_ids=ids, broadcast_buffers=False)


def _precision(device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return lambda: torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext
