"""A ring of bytes in a mapped file, between who answers and the log's files: bounded, and it outlives its process.

Putting bytes in costs a copy in memory. Draining appends them to a file beside the ring, which is the ring's alone: as
many bytes as were drained are its length. So one number says what is done, and whoever opens the ring of a process that
was killed cuts off half a write and goes on, and neither loses nor repeats a byte. Standard library only.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Self

CAPACITY = 64 * 2**20
SUFFIX, LOG_SUFFIX = ".spool", ".frames"

_MAGIC = b"HWSPOOL1"
_HEADER = 4096  # so that the ring begins on a page
_FIELDS = struct.Struct("<8sQQQQ")  # magic, capacity, bytes put, bytes drained, times refused
_PUT, _DRAINED, _REFUSED = 16, 24, 32


class Spool:
    """The ring at `path`, locked as long as it is open. Its bytes go to the file of the same name."""

    def __init__(self, path: Path, descriptor: int, ring: mmap.mmap) -> None:
        """Take an open ring; see `create` and `orphans`."""
        self.path = path
        self.log = path.with_suffix(LOG_SUFFIX)
        self._descriptor, self._ring = descriptor, ring
        _, self._capacity, self._put, self._drained, self._refused = _FIELDS.unpack_from(ring)

    @classmethod
    def create(cls, path: Path, capacity: int = CAPACITY) -> Self:
        """Make an empty ring. Raises OSError if there is no room for it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.posix_fallocate(descriptor, 0, _HEADER + capacity)  # a hole would be a bus error on a full disk
            ring = mmap.mmap(descriptor, _HEADER + capacity)
            _FIELDS.pack_into(ring, 0, _MAGIC, capacity, 0, 0, 0)
            new.rename(path)  # whole, and locked
        except OSError:
            new.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        return cls(path, descriptor, ring)

    @classmethod
    def in_memory(cls, path: Path, capacity: int = CAPACITY) -> Self:
        """Make a ring that ends with its process, for where no file can be had; its log is still that of `path`."""
        ring = mmap.mmap(-1, _HEADER + capacity)
        _FIELDS.pack_into(ring, 0, _MAGIC, capacity, 0, 0, 0)
        return cls(path, -1, ring)

    @property
    def refused(self) -> int:
        """How many times `put` found no room."""
        return self._refused

    @property
    def waiting(self) -> int:
        """Bytes that are not drained yet."""
        return self._put - self._drained

    def put(self, data: bytes) -> bool:
        """Copy bytes in; False, and counted, if there is no room. One thread only."""
        if len(data) > self._capacity - self.waiting:
            self._refused += 1
            self._keep(_REFUSED, self._refused)
            return False
        place = self._put % self._capacity
        first = min(len(data), self._capacity - place)
        self._ring[_HEADER + place : _HEADER + place + first] = data[:first]
        if first < len(data):
            self._ring[_HEADER : _HEADER + len(data) - first] = data[first:]
        self._put += len(data)
        self._keep(_PUT, self._put)  # last: what is not whole was never put
        return True

    def drain(self) -> int:
        """Append what waits to the log file and return how many bytes. One thread only.

        Raises OSError if the disk refuses; then nothing is lost, and the next call writes it again.
        """
        end = self._put
        if end == self._drained:
            return 0
        begin, stop = self._drained % self._capacity, end % self._capacity
        parts = [(begin, stop)] if begin < stop else [(begin, self._capacity), (0, stop)]
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            if os.fstat(log).st_size > self._drained:  # half a write, of one that was killed or refused
                os.ftruncate(log, self._drained)
            for first, last in parts:
                _write(log, memoryview(self._ring)[_HEADER + first : _HEADER + last])
            drained = end - self._drained
            self._drained = end
            self._keep(_DRAINED, end)  # from now on it is done
            return drained
        finally:
            os.close(log)

    def close(self) -> None:
        """Drain, and remove the ring. Raises OSError if the disk refuses: then the ring stays for a later process."""
        try:
            self.drain()
            if self._descriptor >= 0:
                self.path.unlink(missing_ok=True)
        finally:
            self._ring.close()
            if self._descriptor >= 0:
                os.close(self._descriptor)

    def _keep(self, place: int, number: int) -> None:
        """Store a number at once: `struct.pack_into` would first write zeros, which a kill could leave."""
        self._ring[place : place + 8] = number.to_bytes(8, "little")


def orphans(folder: Path) -> Iterator[Spool]:
    """Yield the rings in a folder whose processes are gone."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ring = mmap.mmap(descriptor, 0)
            magic, capacity, *_ = _FIELDS.unpack_from(ring)
            if magic != _MAGIC or len(ring) != _HEADER + capacity or not path.exists():
                raise ValueError
        except (OSError, ValueError, struct.error):  # in use, drained meanwhile, or no ring
            os.close(descriptor)
            continue
        yield Spool(path, descriptor, ring)


def recover(folder: Path) -> int:
    """Drain the rings that killed processes left in a folder, and return how many bytes. Raises OSError."""
    found = 0
    for spool in orphans(folder):
        found += spool.waiting
        spool.close()
    return found


def _write(descriptor: int, data: memoryview) -> None:
    with data:
        written = 0
        while written < len(data):
            with data[written:] as rest:
                written += os.write(descriptor, rest)
