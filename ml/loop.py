"""The loop of one fitting: epochs over shuffled batches until the schedule, patience or time ends it.

Here: order, stopping, keeping the best, and the whole state as one value (`Loop.state`). Not here: a step
(ml/step.py), rows (ml/batches.py, ml/spill.py), files (ml/checkpoint.py).
"""

import math
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from ml.batches import Source, cut_blocks
from ml.calibration import Calibration
from ml.checkpoint import Checkpoints
from ml.fitted import Epoch, StoppedBy
from ml.network import TabularNetwork
from ml.process import ending_later
from ml.shares import Shares
from ml.spec import ModelSpec
from ml.step import Step
from ml.validation import Validation
from ml.world import World

_STEPS_BETWEEN_WORDS = 16  # steps between two messages from the leading process, which cost time
_PROGRESS_SECONDS = 30.0

GO_ON, SAVE, STOP, END = range(4)


@dataclass
class Stopwatch:
    """Seconds of all tries of a fitting, of which at most `limit` are allowed."""

    limit: float
    earlier: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self.earlier + time.monotonic() - self.started

    @property
    def over(self) -> bool:
        """Whether the limit is reached."""
        return self.seconds >= self.limit


@dataclass
class Pass:
    """An epoch under way: the next step, the loss summed over this process's rows so far, seconds in earlier tries."""

    step: int
    total: Tensor
    earlier: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds spent on it."""
        return self.earlier + time.monotonic() - self.started


class Loop:
    """One fitting. All processes of `world` run it in step; the leading one decides what depends on time."""

    def __init__(
        self,
        spec: ModelSpec,
        step: Step,
        learn: Source,
        shares: Shares,
        validation: Validation,
        world: World,
        watch: Stopwatch,
        checkpoints: Checkpoints,
        say: Callable[[str], None],
    ) -> None:
        self.spec, self.step, self.learn, self.shares, self.validation = spec, step, learn, shares, validation
        self.world, self.watch, self.checkpoints, self.say = world, watch, checkpoints, say
        self.epochs: list[Epoch] = []
        self.device = step.network.scale.device
        self._now = self._new_pass()
        self._cut = False
        self._best = _copy(step.network), Calibration(1.0, 0.0, math.inf)
        self._told = time.monotonic()
        self._asked: Callable[[], int] = lambda: 0

    def run(self, progress: Callable[[Epoch], None]) -> StoppedBy:
        """Train until something stops it; return what. Epochs of an earlier try are told to `progress` again.

        Raises SystemExit, once the state is saved, if this process is asked to end (ml/process.py).
        """
        with ending_later() as self._asked:
            return self._run(progress)

    def _run(self, progress: Callable[[Epoch], None]) -> StoppedBy:
        self._resume()
        for epoch in self.epochs:
            progress(epoch)
        while (stopped := self._stopped()) is None:
            self._pass_over_rows()
            self.epochs.append(self._epoch())
            self._now = self._new_pass()
            self._save()
            progress(self.epochs[-1])
        return stopped

    def kept(self) -> tuple[Mapping[str, Tensor], Calibration]:
        """Return the best epoch's weights and calibration."""
        return self._best

    def _pass_over_rows(self) -> None:
        self.step.network.train()
        now, first = self._now, len(self.epochs) * self.shares.steps
        blocks = self.learn.shuffled(len(self.epochs), self.shares.bound(now.step))
        for batch in cut_blocks(blocks, self.shares.sizes(now.step)):
            loss = self.step.learn(batch, first + now.step, self.shares.weight(now.step))
            now.total += loss * len(batch)
            now.step += 1
            wish = self._wish()
            if wish == SAVE:
                self._save()
            elif wish == STOP:
                self._cut = True
                break
            elif wish == END:
                self._save()
                self.say(f"asked to end: {len(self.epochs)} epochs and {now.step} steps are in the checkpoint")
                raise SystemExit(self._asked() or 128 + signal.SIGTERM)

    def _wish(self) -> int:
        """Return what the leading process wants after this step; nothing here waits for the device."""
        if self._now.step == self.shares.steps:
            return GO_ON
        if not self.world.alone and self._now.step % _STEPS_BETWEEN_WORDS:
            return GO_ON
        wish = END if self._asked() else STOP if self.watch.over else SAVE if self.checkpoints.due else GO_ON
        if time.monotonic() - self._told > _PROGRESS_SECONDS:
            self._told = time.monotonic()
            self.say(f"epoch {len(self.epochs) + 1}: {self._now.step / self.shares.steps:.0%} of its steps")
        found: int = self.world.same(wish)
        return found

    def _epoch(self) -> Epoch:
        sums = self.world.all((self._now.total.item(), self.shares.bound(self._now.step)))
        train_loss = self._finite(sum(s[0] for s in sums) / sum(s[1] for s in sums), "training")
        measured = self.validation.measure(self.step.averaged())
        self._finite(measured.largest, "validation")
        best = all(measured.calibration.loss < epoch.validation_loss for epoch in self.epochs)
        if best:
            self._best = _copy(self.step.average), measured.calibration
        return Epoch(
            number=len(self.epochs) + 1,
            planned=self.spec.training.epochs,
            train_loss=train_loss,
            validation_loss=measured.calibration.loss,
            validation_score=measured.score,
            seconds=self._now.seconds,
            best=best,
        )

    def _stopped(self) -> StoppedBy | None:
        """Return what ends training before another epoch, None if nothing does."""
        if not self.epochs:
            return None
        if not self._cut:
            best = max(epoch.number for epoch in self.epochs if epoch.best)
            if len(self.epochs) - best >= self.spec.training.patience:
                return "patience"
            if len(self.epochs) >= self.spec.training.epochs:
                return "epochs"
            if not self.world.same(self.watch.over):
                return None
        self.say(
            f"the time allowed, {self.watch.limit:g} s over all tries, cut training in epoch {len(self.epochs)} of "
            f"{self.spec.training.epochs}; the result depends on this machine's speed"
        )
        return "time"

    def _new_pass(self) -> Pass:
        return Pass(0, torch.zeros((), device=self.device))

    def _resume(self) -> None:
        state = self.world.same(self.checkpoints.load() if self.world.leads else None)
        if state is None:
            return
        self.step.restore(state["step"])
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        self._best = _moved(state["best"], self.device), Calibration(*state["calibration"])
        done = state["pass"]
        self._now = Pass(done["step"], done["totals"][self.world.rank].to(self.device), done["seconds"])
        self.watch.earlier = state["seconds"]
        self._cut = self.world.same(state["cut"] and self.watch.over)  # more time may be allowed now
        _set_random(state["random"][self.world.rank], self.device)
        self.say(f"goes on from a checkpoint: {len(self.epochs)} epochs and {done['step']} steps are done")

    def _save(self) -> None:
        if self.checkpoints.folder is None:
            return
        totals, random = self.world.all(self._now.total.cpu()), self.world.all(_random(self.device))
        if not self.world.leads:
            return
        weights, calibration = self._best
        self.checkpoints.save(
            {
                "step": self.step.state(),
                "epochs": [asdict(epoch) for epoch in self.epochs],
                "best": dict(weights),
                "calibration": [calibration.scale, calibration.shift, calibration.loss],
                "pass": {"step": self._now.step, "totals": totals, "seconds": self._now.seconds},
                "cut": self._cut,
                "seconds": self.watch.seconds,
                "random": random,
            }
        )

    def _finite(self, loss: float, which: str) -> float:
        if math.isfinite(loss):
            return loss
        raise FloatingPointError(
            f"{which} loss of model {self.spec.name!r} is {loss} in epoch {len(self.epochs) + 1}; "
            f"lower training.learning_rate (now {self.spec.training.learning_rate})"
        )


def _copy(network: TabularNetwork) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _moved(weights: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: value.to(device) for name, value in weights.items()}


def _random(device: torch.device) -> list[Tensor]:
    cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *cuda]


def _set_random(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state, device)
