"""The ONNX graphs that a process of the router holds open: within a budget the least recently used ones leave.

Runs in the serving environment.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import onnxruntime as ort

_PAGE = os.sysconf("SC_PAGE_SIZE")
_LEAST = 300_000  # bytes of a session, however little the process grew by it


class _Open(NamedTuple):
    session: ort.InferenceSession
    size: int


class Sessions:
    """Sessions by file, at most `budget` bytes together; those of `keep` stay whatever they take.

    A session's size is what the process grew by when it was opened, or four times its file if that is more.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._kept: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes of all open sessions together."""
        return sum(found.size for found in list(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def keep(self, paths: Iterable[str]) -> None:
        """Name those that must not leave."""
        with self._lock:
            self._kept = frozenset(paths)

    def warm(self, path: str) -> ort.InferenceSession | None:
        """Open the file if there is room for it without another one leaving; None if there is not.

        Raises LookupError if there is no such file, what ONNX Runtime raises if it is no graph.
        """
        with self._lock:
            if path not in self._open and self.size + _guess(path) > self.budget:
                return None
        return self.get(path)

    def get(self, path: str) -> ort.InferenceSession:
        """Return the file's session, opened if need be. Raises as `warm`."""
        with self._lock:
            if path in self._open:
                self._open.move_to_end(path)
                return self._open[path].session
            self._leave(self.budget - _guess(path))
            before = _resident()
            session = _session(path)
            self._open[path] = _Open(session, max(_resident() - before, _guess(path)))
            return session

    def forget(self, wanted: Iterable[str]) -> None:
        """Close all that are not wanted any more."""
        with self._lock:
            for path in self._open.keys() - set(wanted):
                del self._open[path]

    def _leave(self, room: int) -> None:
        for path in [path for path in self._open if path not in self._kept]:
            if self.size <= room:
                return
            del self._open[path]


def _guess(path: str) -> int:
    try:
        return max(4 * os.stat(path).st_size, _LEAST)
    except OSError:
        return _LEAST


def _session(path: str) -> ort.InferenceSession:
    if not Path(path).is_file():
        raise LookupError(f"no ONNX file at {path}; deploy the model again")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _resident() -> int:
    """Return the bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
