"""The prediction log's writer: frames go into a ring, and a thread drains it into files. Runs inside Triton.

What a frame holds is in `log_frames`, the ring in `log_spool`; reading the files into the lake is in `log_reader`.
"""

import sys
import threading
import uuid
from collections.abc import Iterable
from pathlib import Path

from serving.log_frames import LogSchema, write_schema
from serving.log_spool import CAPACITY, SUFFIX, Spool, recover

DRAIN_SECONDS = 0.05
ROTATE_BYTES = 64 * 2**20
_PATIENCE_SECONDS = 10.0
_REST_SECONDS = 1.0  # after the disk refused


class PredictionLog:
    """A log folder with one ring and one file a writer, so that no two processes share a file.

    An answer waits for no write. The ring outlives its process: what a killed one had not drained, the next
    writer or reader of the folder drains. Lost is only what does not fit the ring while the disk refuses: that is
    counted. Where there is no room for a ring on the disk, it is in memory, and told.
    """

    def __init__(self, folder: Path, prefix: str, schemas: Iterable[LogSchema] = (), capacity: int = CAPACITY) -> None:
        """Open the log for frames of these schemas; `declare` names more."""
        self._folder, self._prefix, self.capacity = folder, prefix, capacity
        self._schemas, self._keeping = list(schemas), threading.Lock()  # that are not kept yet
        self._told, self._dropped = "", 0
        self._spool = self._open()
        self._putting, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Frames that found no room."""
        return self._dropped + self._spool.refused

    @property
    def waiting(self) -> int:
        """Bytes in the ring that no file has yet, of `capacity`."""
        return self._spool.waiting

    def declare(self, schemas: Iterable[LogSchema]) -> None:
        """Keep more schemas beside the log, before frames of theirs are put in."""
        with self._keeping:
            self._schemas += schemas
        try:
            self._keep_schemas()
        except OSError as error:
            self._tell(error)

    def append(self, frame: bytes) -> None:
        """Put in one frame without waiting for the disk."""
        with self._putting:
            self._spool.put(frame)

    def close(self) -> None:
        """Drain what waits, and stop. What the disk refuses stays in the ring for the next writer."""
        self._stop.set()
        self._thread.join(_PATIENCE_SECONDS)
        if self._thread.is_alive():  # the disk hangs; the ring stays
            return
        try:
            self._keep_schemas()
            self._spool.close()
        except OSError as error:
            self._tell(error)

    def _run(self) -> None:
        while not self._stop.wait(DRAIN_SECONDS):
            try:
                self._drain()
                self._told = ""
            except OSError as error:
                self._tell(error)
                self._stop.wait(_REST_SECONDS)

    def _drain(self) -> None:
        if self._schemas:  # which the disk refused
            self._keep_schemas()
        if self._spool.drain() and self._spool.log.stat().st_size > ROTATE_BYTES:
            full, fresh = self._spool, Spool.create(self._path(), self.capacity)
            with self._putting:
                self._spool = fresh
            self._dropped += full.refused
            full.close()

    def _open(self) -> Spool:
        path = self._path()
        try:
            self._keep_schemas()
            spool = Spool.create(path, self.capacity)
        except OSError as error:
            self._tell(error)
            return Spool.in_memory(path, self.capacity)
        try:
            recover(self._folder)
        except OSError as error:  # what others left waits for the next one to come
            self._tell(error)
        return spool

    def _keep_schemas(self) -> None:
        with self._keeping:
            while self._schemas:
                write_schema(self._folder, self._schemas[0])
                del self._schemas[0]

    def _path(self) -> Path:
        return self._folder / f"{self._prefix}-{uuid.uuid4().hex[:12]}{SUFFIX}"

    def _tell(self, error: OSError) -> None:
        """Say once what the disk refuses, until it takes something again."""
        if str(error) != self._told:
            self._told = str(error)
            print(f"prediction log {self._folder}: {error}; predictions wait in memory", file=sys.stderr, flush=True)
