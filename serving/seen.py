"""What a router tells those who watch it: one batch after its answers are there, and what is true at the moment.

Watching costs the answer nothing but a few clock readings; what is made of it is in `tally` and `spans`.
"""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    from serving.answer import Answer, Request
    from serving.scored import By, Scored

Stage = Literal["parse", "read", "score", "answer", "log"]


class Seen:
    """A batch on its way. `laps` are the stages in order with the instants of `time.perf_counter` at their ends."""

    def __init__(self, requests: "Sequence[Request]") -> None:
        self.requests = requests
        self.answers: Sequence[Answer | Exception] = ()
        self.scored: Scored | None = None
        self.logged: np.ndarray | None = None
        self.started = time.perf_counter()
        self.laps: list[tuple[Stage, float]] = []

    def lap(self, stage: Stage) -> None:
        """End a stage: what passed since the stage before it was this one's."""
        self.laps.append((stage, time.perf_counter()))

    @property
    def ended(self) -> float:
        """The instant at which the last stage ended."""
        return self.laps[-1][1] if self.laps else self.started


class Levels(NamedTuple):
    """What is true of a router at the moment; `dropped` and `left_out` only grow."""

    revision: int
    arms: frozenset[tuple[str, str]]  # version and variant of each
    log_waiting: int  # bytes
    log_capacity: int  # bytes
    dropped: int  # frames
    left_out: int  # shadows' batches
    sessions: int
    sessions_size: int  # bytes


class Watcher(Protocol):
    """Someone who is told of batches. Must not raise, nor wait."""

    def answered(self, seen: Seen) -> None:
        """Take note of a batch; its answers are not sent yet."""

    def shadowed(self, by: "By", rows: int, seconds: float) -> None:
        """Take note of rows that a shadow scored, or failed on. In the shadows' thread."""
