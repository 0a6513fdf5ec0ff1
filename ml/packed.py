"""The binary form of one online feature row and of its key. Standard library only: the router reads it.

Row layout (little endian): int64 event, int64 created (microseconds since the epoch, UTC), a null
bitmap of ceil(n / 8) bytes, then the values that are not null in field order: float64, int64, one
byte for a bool, uint32 length and UTF-8 bytes for a string.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

Kind = Literal["float", "int", "string", "bool"]
Value = float | int | str | bool | None

_FIXED = {"float": struct.Struct("<d"), "int": struct.Struct("<q"), "bool": struct.Struct("<?")}
_TIMES = struct.Struct("<qq")
_LENGTH = struct.Struct("<I")


class Field(NamedTuple):
    """One feature's name and kind."""

    name: str
    kind: Kind


class PackedRow(NamedTuple):
    """A decoded row: values in field order, event and created time in microseconds since the epoch, UTC."""

    values: tuple[Value, ...]
    event_us: int
    created_us: int


def pack(fields: Sequence[Field], values: Sequence[Value], event_us: int, created_us: int) -> bytes:
    """Encode one row. `values` has one entry a field, None for null."""
    if len(fields) != len(values):
        raise ValueError(f"{len(values)} values for {len(fields)} fields: {[f.name for f in fields]}")
    nulls = bytearray((len(fields) + 7) // 8)
    body = []
    for index, (field, value) in enumerate(zip(fields, values, strict=True)):
        if value is None:
            nulls[index // 8] |= 1 << (index % 8)
        elif field.kind == "string":
            text = str(value).encode()
            body += [_LENGTH.pack(len(text)), text]
        else:
            body.append(_FIXED[field.kind].pack(value))
    return b"".join([_TIMES.pack(event_us, created_us), bytes(nulls), *body])


def unpack(fields: Sequence[Field], row: bytes) -> PackedRow:
    """Decode a row that `pack` wrote with the same fields. Raises ValueError on any other bytes."""
    try:
        event_us, created_us = _TIMES.unpack_from(row)
        position = _TIMES.size + (len(fields) + 7) // 8
        nulls = row[_TIMES.size : position]
        values: list[Value] = []
        for index, field in enumerate(fields):
            if nulls[index // 8] >> (index % 8) & 1:
                values.append(None)
            elif field.kind == "string":
                (length,) = _LENGTH.unpack_from(row, position)
                position += _LENGTH.size
                values.append(row[position : position + length].decode())
                position += length
            else:
                codec = _FIXED[field.kind]
                values.append(codec.unpack_from(row, position)[0])
                position += codec.size
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"online row does not fit its fields {[f.name for f in fields]}: {error}") from error
    if position != len(row):
        raise ValueError(
            f"online row of {len(row)} bytes does not fit its fields {[f.name for f in fields]} ({position} bytes)"
        )
    return PackedRow(tuple(values), event_us, created_us)


def row_times(row: bytes) -> tuple[int, int]:
    """Return event and created time of a packed row, in microseconds since the epoch (UTC)."""
    return _TIMES.unpack_from(row)


def entity_key(join_keys: Mapping[str, str | int]) -> bytes:
    """Encode an entity's join keys: sorted by name, each value with its type, so that 1 is not '1'."""
    parts = []
    for name in sorted(join_keys):
        value = join_keys[name]
        tag, text = ("i", str(int(value))) if isinstance(value, int) else ("s", value)
        raw = text.encode()
        parts += [tag.encode(), _LENGTH.pack(len(raw)), raw]
    return b"".join(parts)
