"""The prediction log's binary form: a frame holds what a batch was answered from and with, column by column.

Standard library and numpy: the router writes frames (`prediction_log`), the platform reads them (`log_reader`). A frame
names its schema by a digest; the schema is a JSON file beside the log, so that a log can be read without the plan.
"""

import hashlib
import json
import os
import struct
import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MAGIC = b"HWP1"
NEVER = np.iinfo(np.int64).min  # the event time of a row that is not there
ID_BYTES = 16

_HEAD = struct.Struct("<4sIII8sqq")  # magic, length, checksum of what follows it, rows, schema, time, time taken
_CHECKED = 12  # bytes of the head before what the checksum goes on with after the length
_LONGEST = 2**28  # bytes; a ring holds less


@dataclass(frozen=True)
class LogSchema:
    """What the frames of one version in one plan hold; names and kinds (`ml.packed.Kind`) of their columns.

    `numbers` and `texts` are the request's fields, join keys among them; `features` are all of the graph's inputs from
    views that are numbers, `text_features` those that are texts. `variant` is the version's part in the plan; where it
    `answered` False, the caller got another version's answer: it was a shadow, or it failed.
    """

    model: str
    revision: int
    model_version: str
    output: str
    views: tuple[str, ...]
    numbers: tuple[tuple[str, str], ...]
    texts: tuple[str, ...]
    features: tuple[tuple[str, str], ...]
    text_features: tuple[str, ...]
    variant: str = "champion"
    answered: bool = True

    def to_json(self) -> str:
        """Return the schema as JSON text."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @cached_property
    def digest(self) -> bytes:
        """8 bytes that tell this schema from others."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=8).digest()

    @property
    def file(self) -> str:
        """The name of the schema's file beside the log."""
        return f"{self.digest.hex()}.schema.json"


def parse_schema(text: str) -> LogSchema:
    """Read a schema from JSON text. Raises ValueError if it is none."""
    try:
        return LogSchema(**{name: _frozen(value) for name, value in json.loads(text).items()})
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"no schema of a prediction log: {error}") from error


class Batch(NamedTuple):
    """The columns of one frame of N rows, in the order of its schema; what is missing is NaN, None or NEVER.

    `ids`: 16 N bytes; `value`: float32 [N]; `event_us`: int64 [views, N]; `status`: uint8 [views, N], places in
    `online_features.STATUSES`; `numbers` and `features`: float64 [columns, N]; `texts`: N texts a column, those of the
    request first. `time_us` is the instant, `taken_us` how long the batch took, in microseconds.
    """

    time_us: int
    taken_us: int
    ids: bytes
    value: Any
    event_us: Any
    status: Any
    numbers: Any
    features: Any
    texts: Sequence[Any]

    def only(self, chosen: Any) -> "Batch":
        """Return the rows where `chosen`, bool [N], is true."""
        places: list[int] = np.flatnonzero(chosen).tolist()
        return self._replace(
            ids=b"".join(self.ids[ID_BYTES * place : ID_BYTES * (place + 1)] for place in places),
            value=self.value[places],
            event_us=self.event_us[:, places],
            status=self.status[:, places],
            numbers=self.numbers[:, places],
            features=self.features[:, places],
            texts=[[column[place] for place in places] for column in self.texts],
        )


def encode(schema: LogSchema, batch: Batch) -> bytes:
    """Return the frame."""
    rows = len(batch.value)
    texts = [None if text is None else text.encode() for text in chain.from_iterable(batch.texts)]
    lengths = np.array([-1 if text is None else len(text) for text in texts], dtype="<i4")
    body = b"".join(
        [
            batch.ids,
            np.ascontiguousarray(batch.value, dtype="<f4").tobytes(),
            np.ascontiguousarray(batch.event_us, dtype="<i8").tobytes(),
            np.ascontiguousarray(batch.status, dtype="u1").tobytes(),
            np.ascontiguousarray(batch.numbers, dtype="<f8").tobytes(),
            np.ascontiguousarray(batch.features, dtype="<f8").tobytes(),
            lengths.tobytes(),
            *(text for text in texts if text),
        ]
    )
    length = _HEAD.size + len(body)
    head = _HEAD.pack(MAGIC, length, 0, rows, schema.digest, batch.time_us, batch.taken_us)
    checksum = zlib.crc32(body, zlib.crc32(head[_CHECKED:], zlib.crc32(head[:8])))
    return head[:8] + checksum.to_bytes(4, "little") + head[_CHECKED:] + body


class Frame(NamedTuple):
    """One frame in a file, not decoded yet: where it begins, its schema's digest, its bytes."""

    place: int
    digest: bytes
    data: memoryview


def frames(data: bytes, start: int, name: str) -> Iterator[Frame]:
    """Yield the whole frames in `data`, which lie from byte `start` on in file `name`; a half one at the end waits.

    Raises ValueError naming file and byte where there is no frame, or a damaged one.
    """
    place, view = 0, memoryview(data)
    while len(data) - place >= _HEAD.size:
        magic, length, checksum, _, digest, _, _ = _HEAD.unpack_from(data, place)
        if magic != MAGIC or not _HEAD.size <= length <= _LONGEST:
            raise ValueError(f"{name} holds no prediction at byte {start + place}; move the file away")
        if place + length > len(data):
            return
        frame = view[place : place + length]
        if zlib.crc32(frame[_CHECKED:], zlib.crc32(frame[:8])) != checksum:
            raise ValueError(f"{name} holds a damaged prediction at byte {start + place}; move the file away")
        yield Frame(start + place, digest, frame)
        place += length


def decode(schema: LogSchema, frame: Frame) -> Batch:
    """Return the columns of a frame of this schema."""
    _, _, _, rows, _, time_us, taken_us = _HEAD.unpack_from(frame.data)
    place = _HEAD.size

    def take(dtype: str, *shape: int) -> Any:
        nonlocal place
        count = int(np.prod(shape))
        found = np.frombuffer(frame.data, dtype, count, place).reshape(shape)
        place += found.nbytes
        return found

    ids = take("u1", ID_BYTES * rows).tobytes()
    value = take("<f4", rows)
    views = len(schema.views)
    event_us, status = take("<i8", views, rows), take("u1", views, rows)
    numbers, features = take("<f8", len(schema.numbers), rows), take("<f8", len(schema.features), rows)
    columns = len(schema.texts) + len(schema.text_features)
    lengths = take("<i4", columns, rows)
    texts = _texts(bytes(frame.data[place:]), lengths)
    return Batch(time_us, taken_us, ids, value, event_us, status, numbers, features, texts)


def _texts(data: bytes, lengths: Any) -> list[list[str | None]]:
    found: list[list[str | None]] = []
    place = 0
    for column in lengths.tolist():
        texts: list[str | None] = []
        for length in column:
            texts.append(None if length < 0 else data[place : place + length].decode())
            place += max(length, 0)
        found.append(texts)
    return found


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def write_schema(folder: Path, schema: LogSchema) -> None:
    """Put the schema's file beside the log, unless it is there."""
    path = folder / schema.file
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{uuid.uuid4().hex[:8]}.new")  # several processes of a router start at once
        new.write_text(schema.to_json())
        os.replace(new, path)
