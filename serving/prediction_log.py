"""The prediction log's writer: JSON lines, written by a thread behind a bounded queue.

Standard library only; runs inside Triton. Reading the lines into the lake is in `log_reader`. What a
line holds is the router's business.
"""

import json
import queue
import sys
import threading
import uuid
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any

CAPACITY = 10_000  # lines that may wait; at about 2 kB each, 20 MB

_STOP = object()


class PredictionLog:
    """A log folder with one file a writer, so that no two processes share a file.

    A line that does not fit the queue, or that the disk refuses, is dropped and counted: an answer never
    waits for the log. Lines still queued when the process is killed are lost.
    """

    def __init__(self, folder: Path, prefix: str, capacity: int = CAPACITY) -> None:
        self.dropped = 0
        self._folder = folder
        self._prefix = prefix
        self._queue: queue.Queue[Any] = queue.Queue(maxsize=capacity)
        self._file: FileIO | None = None
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def append(self, line: Mapping[str, Any]) -> None:
        """Queue one line without waiting."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def close(self, timeout: float = 10.0) -> None:
        """Write what is queued and stop, within `timeout` seconds."""
        try:
            self._queue.put(_STOP, timeout=timeout)
        except queue.Full:
            return
        self._thread.join(timeout)

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch = [self._queue.get()]
            while not self._queue.empty() and len(batch) < 1000:
                batch.append(self._queue.get_nowait())
            lines = [line for line in batch if line is not _STOP]
            stopping = len(lines) < len(batch)
            self._write(lines)
        self._reset()

    def _write(self, lines: list[Mapping[str, Any]]) -> None:
        try:
            rest = memoryview(b"".join(json.dumps(line, allow_nan=False).encode() + b"\n" for line in lines))
            while rest:
                rest = rest[self._open().write(rest) :]
        except (OSError, ValueError, TypeError) as error:
            self.dropped += len(lines)
            print(
                f"prediction log {self._folder}: {len(lines)} lines dropped: {error}",
                file=sys.stderr,
                flush=True,
            )
            self._reset()

    def _open(self) -> FileIO:
        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = FileIO(self._folder / f"{self._prefix}-{uuid.uuid4().hex[:12]}.jsonl", "a")
        return self._file

    def _reset(self) -> None:
        # After a refused write the file may end in half a line: the next lines go to a new one.
        if self._file is not None:
            self._file.close()
            self._file = None
