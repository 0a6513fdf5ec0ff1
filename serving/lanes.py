"""Answers requests that wait for other views in threads of their own: who does not need a view does not wait for it.

Needed only while versions of one plan read different views. What a request waits for, the router says; tensors are
`triton_model`'s business. Runs inside Triton.
"""

import queue
import sys
import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

WAITING = 256  # requests in one lane
_TOGETHER = 64  # requests answered as one batch

T = TypeVar("T")


class Lanes(Generic[T]):
    """A thread for each set of views that somebody waits for, begun when it is first needed."""

    def __init__(self, work: Callable[[Sequence[T]], None]) -> None:
        """`work` answers some requests of one lane; what it raises is told, and the lane goes on."""
        self._work = work
        self._lanes: dict[Hashable, tuple[queue.Queue[T | None], threading.Thread]] = {}

    def put(self, lane: Hashable, item: T) -> bool:
        """Have a request answered in its lane; False if too many wait there. Never waits. One thread only."""
        if lane not in self._lanes:
            waiting: queue.Queue[T | None] = queue.Queue(WAITING)
            thread = threading.Thread(target=self._run, args=(waiting,), name="lane", daemon=True)
            self._lanes[lane] = waiting, thread
            thread.start()
        try:
            self._lanes[lane][0].put_nowait(item)
        except queue.Full:
            return False
        return True

    def close(self) -> None:
        """Answer what waits, and end."""
        for waiting, _ in self._lanes.values():
            waiting.put(None)
        for _, thread in self._lanes.values():
            thread.join()

    def _run(self, waiting: "queue.Queue[T | None]") -> None:
        ended = False
        while not ended:
            items = [waiting.get()]
            while len(items) < _TOGETHER and not waiting.empty():
                items.append(waiting.get())
            ended = None in items
            if some := [item for item in items if item is not None]:
                self._try(some)

    def _try(self, items: Sequence[T]) -> None:
        try:
            self._work(items)
        except Exception as error:  # who comes next must not wait for nobody
            print(f"{len(items)} requests were not answered: {error}", file=sys.stderr, flush=True)
