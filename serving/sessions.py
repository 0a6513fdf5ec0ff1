"""The ONNX graphs that a process of the router holds open: within a budget the least recently used ones leave.

Runs in the serving environment.
"""

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import onnxruntime as ort

from serving.compiled import SUFFIX

_PAGE = os.sysconf("SC_PAGE_SIZE")
_BESIDE = 500_000  # bytes that a session takes beside two copies of its weights


class _Open(NamedTuple):
    session: ort.InferenceSession
    size: int


class Sessions:
    """Sessions by file, at most `budget` bytes together; those of `keep` stay whatever they take.

    A session's size is what the process grew by when it was opened, or twice its file and a bit if that is more. They
    share one arena for what they compute with: with one each, a batch would leave more behind than a graph is.
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
        session = open_session(path)  # not under the lock: who answers must not wait for what is opened beside
        with self._lock:
            return self._open.setdefault(path, _Open(session, max(_resident() - before, _guess(path)))).session

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
        return 2 * os.stat(path).st_size + _BESIDE
    except OSError:
        return _BESIDE


def open_session(path: str) -> ort.InferenceSession:
    """Open a graph, in its compiled form if it has one, with one thread. Raises LookupError if it is not there."""
    if not Path(path).is_file():
        raise LookupError(f"no ONNX file at {path}; deploy the model again")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    _share_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")
    compiled = Path(path).with_suffix(SUFFIX)
    if compiled.is_file():
        try:
            return ort.InferenceSession(str(compiled), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of another release of ONNX Runtime, or damaged
            print(f"{compiled} cannot be opened ({error}); the ONNX file is", file=sys.stderr, flush=True)
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@cache
def _share_arena() -> None:
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, None)


def _resident() -> int:
    """Return the bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
