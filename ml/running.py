"""How a fitting runs, whatever the model is: bounds, checkpoints, processes.

Here: the choices of whoever starts it. Not here: choices that belong to the model (ml/spec.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ml.checkpoint import EVERY_SECONDS
from ml.world import ALONE, World

MAX_SECONDS = 3600.0


@dataclass(frozen=True)
class Running:
    """None of it changes the fitted model by more than noise, unless `max_seconds` cuts training short.

    Attributes:
        max_seconds: Bound on the seconds of all tries; reaching it ends training with what there is.
        checkpoint: Folder of the unfinished state; None keeps none.
        checkpoint_seconds: Time between two checkpoints within an epoch; there is one after each epoch anyway.
        training_set: What identifies the rows, such as a content hash; a checkpoint of another is not gone on from.
        memory_mb: Bound on what encoded training rows take, in MiB; None: what is free. Others are read from disk.
        work: Folder for encoded rows that do not fit; None: a temporary one.
        world: The processes that train together.
        say: Takes lines of progress for people.
    """

    max_seconds: float = MAX_SECONDS
    checkpoint: Path | None = None
    checkpoint_seconds: float = EVERY_SECONDS
    training_set: str = ""
    memory_mb: float | None = None
    work: Path | None = None
    world: World = ALONE
    say: Callable[[str], None] = lambda line: None


PLAIN = Running()
