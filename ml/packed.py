"""The binary form of one online feature row and of its key. Standard library and numpy: the router reads it.

A row (little endian): 8 bytes of the layout's fingerprint, int64 event and created (microseconds since the
epoch, UTC), a null bitmap of 63 fields a word, 8 bytes a field: int64 of every int and bool, float64 of every
float, where every string begins and ends in the row (uint32), and at the end the strings in UTF-8. So all rows of
a view have a fixed part of one size, which is decoded for many rows at once. Where rows are kept is not known here.
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache, reduce
from itertools import compress
from operator import or_
from typing import Any, Literal, NamedTuple

import numpy as np

Kind = Literal["float", "int", "string", "bool"]
Value = float | int | str | bool | None
Key = str | int | None

_TIMES = struct.Struct("<8xqq")
_WORD = 63
_ALL = 2**_WORD - 1
_LEAST = 72  # bytes; Redis looks for a field of a small hash of values up to 64 bytes one by one
_MANY = 24  # rows from which numpy decodes faster than struct
_TYPES: dict[str, tuple[type, ...]] = {"float": (float, int), "int": (int,), "string": (str,), "bool": (bool,)}


class Field(NamedTuple):
    """One feature's name and kind."""

    name: str
    kind: Kind


class PackedRow(NamedTuple):
    """A decoded row: values in field order, event and created time in microseconds since the epoch, UTC."""

    values: tuple[Value, ...]
    event_us: int
    created_us: int


class Columns(NamedTuple):
    """Decoded rows: a sequence a field, each [rows], None for null; the instants in microseconds."""

    values: list[Sequence[Value]]
    event_us: Sequence[int]
    created_us: Sequence[int]


class Arrays(NamedTuple):
    """Decoded rows as a router wants them: a column a field, float64 [rows] with NaN for null, texts with None.

    The instants are int64 [rows], in microseconds.
    """

    values: list[Any]
    event_us: Any
    created_us: Any


class Layout:
    """How the rows of one view lie in bytes. Get it from `layout_of`, which keeps them."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = tuple(fields)
        text = "\n".join(f"{field.name}:{field.kind}" for field in fields)
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        (self._fingerprint,) = struct.unpack("<q", digest)
        self._words = -(-len(fields) // _WORD)
        self._first = 3 + self._words
        self._ints = [i for i, field in enumerate(fields) if field.kind in ("int", "bool")]
        self._floats = [i for i, field in enumerate(fields) if field.kind == "float"]
        self._texts = [i for i, field in enumerate(fields) if field.kind == "string"]
        integers = self._first + len(self._ints)
        floats = integers + len(self._floats)
        self._parts = (integers, floats, floats + len(self._texts))
        numbers = [*self._ints, *self._floats]
        # Where each field's column stands among the slots; a string's is filled in from its text.
        self._order = [self._first + numbers.index(i) if i in numbers else 0 for i in range(len(fields))]
        self._fixed = _padded(f"<{'q' * integers}{'d' * len(self._floats)}{'II' * len(self._texts)}")
        self._bools = [i for i, field in enumerate(fields) if field.kind == "bool"]
        self.blank = self.pack([None] * len(fields), 0, 0)

    def pack(self, values: Sequence[Value], event_us: int, created_us: int) -> bytes:
        """Encode one row. `values` has one entry a field, None for null.

        Raises ValueError naming the field whose value is of another kind or beyond 64 bits.
        """
        if len(values) != len(self.fields):
            raise ValueError(f"{len(values)} values for {len(self.fields)} fields: {[f.name for f in self.fields]}")
        nulls = sum(1 << index for index, value in enumerate(values) if value is None) if None in values else 0
        words = [nulls >> (_WORD * word) & _ALL for word in range(self._words)]
        slots: list[Any] = [0 if values[index] is None else values[index] for index in (*self._ints, *self._floats)]
        texts = [self._text(index, values[index]) for index in self._texts]
        end = self._fixed.size
        for text in texts:
            slots += (end, end := end + len(text))
        try:
            return b"".join([self._fixed.pack(self._fingerprint, event_us, created_us, *words, *slots), *texts])
        except (struct.error, TypeError) as error:
            raise self._misfit(values, error) from error

    def unpack(self, row: bytes) -> PackedRow:
        """Decode a row that `pack` wrote with the same fields. Raises ValueError on any other bytes."""
        columns = self.columns([row])
        return PackedRow(tuple(column[0] for column in columns.values), columns.event_us[0], columns.created_us[0])

    def columns(self, rows: Sequence[bytes]) -> Columns:
        """Decode many rows at once, a column a field. Raises ValueError unless all have this layout."""
        size = self._fixed.size
        whole = b"".join([row[:size] for row in rows]) if self._texts else b"".join(rows)
        slots = self._slots(whole, len(rows))
        if not slots or slots[0].count(self._fingerprint) != len(rows):
            if not rows:
                return Columns([()] * len(self.fields), (), ())
            raise ValueError(f"a row has another layout than {[f'{f.name}:{f.kind}' for f in self.fields]}")
        values: list[Any] = [slots[slot] for slot in self._order]
        for index in self._bools:
            values[index] = tuple(map(bool, values[index]))
        ends = slots[self._parts[1] :]
        for place, index in enumerate(self._texts):
            values[index] = _texts(rows, ends[2 * place], ends[2 * place + 1])
        for word, nulls in enumerate(slots[3 : self._first]):
            if any(nulls):
                _set_nulls(values, nulls, word * _WORD)
        return Columns(values, slots[1], slots[2])

    def arrays(self, rows: Sequence[bytes]) -> Arrays:
        """Decode many rows at once into arrays. Raises ValueError unless all have this layout."""
        size = self._fixed.size
        whole = b"".join([row[:size] for row in rows]) if self._texts else b"".join(rows)
        matrix = np.frombuffer(whole, "<i8").reshape(len(rows), -1) if len(whole) == len(rows) * size else np.empty(0)
        if not matrix.size or (matrix[:, 0] != self._fingerprint).any():
            raise ValueError(f"a row has another layout than {[f'{f.name}:{f.kind}' for f in self.fields]}")
        integers, floats, texts = self._parts
        numbers = np.empty((floats - self._first, len(rows)))
        numbers[: len(self._ints)] = matrix[:, self._first : integers].T
        numbers[len(self._ints) :] = matrix[:, integers:floats].view("<f8").T
        values: list[Any] = [None] * len(self.fields)
        for place, index in enumerate((*self._ints, *self._floats)):
            values[index] = numbers[place]
        ends = matrix[:, floats:texts].view("<u4").T.tolist() if self._texts else []
        for place, index in enumerate(self._texts):
            values[index] = _texts(rows, ends[2 * place], ends[2 * place + 1])
        self._blank_out(values, matrix[:, 3 : self._first])
        return Arrays(values, matrix[:, 1].copy(), matrix[:, 2].copy())

    def _blank_out(self, values: list[Any], words: Any) -> None:
        """Put NaN or None where a bit of the bitmaps [rows, words] is set."""
        if not words.any():
            return
        for index, field in enumerate(self.fields):
            nulls = words[:, index // _WORD] >> (index % _WORD) & 1 != 0
            if field.kind != "string":
                values[index][nulls] = np.nan
            else:
                for row in np.flatnonzero(nulls):
                    values[index][row] = None

    def _slots(self, whole: bytes, rows: int) -> list[Sequence[Any]]:
        """Return the fixed parts of all rows, a column a slot; none if they cannot be of this layout."""
        if len(whole) != rows * self._fixed.size:
            return []
        if rows < _MANY:
            return list(zip(*self._fixed.iter_unpack(whole)))  # noqa: B905 (they cannot differ; checking costs)
        matrix = np.frombuffer(whole, "<i8").reshape(rows, -1)
        integers, floats, texts = self._parts
        slots = matrix[:, :integers].T.tolist() + matrix[:, integers:floats].view("<f8").T.tolist()
        return slots + matrix[:, floats:texts].view("<u4").T.tolist() if self._texts else slots

    def _text(self, index: int, value: Value) -> bytes:
        if value is None:
            return b""
        if not isinstance(value, str):
            raise ValueError(f"field {self.fields[index].name!r} is {value!r}; it holds a string")
        return value.encode()

    def _misfit(self, values: Sequence[Value], error: Exception) -> ValueError:
        for field, value in zip(self.fields, values, strict=True):
            big = isinstance(value, int) and not -(2**63) <= value < 2**63
            if value is not None and (big or not isinstance(value, _TYPES[field.kind])):
                return ValueError(f"field {field.name!r} is {value!r}; it holds a {field.kind} of 64 bits")
        return ValueError(f"a row cannot be packed: {error}")


@lru_cache(maxsize=1024)
def _layout(fields: tuple[Field, ...]) -> Layout:
    return Layout(fields)


def layout_of(fields: Sequence[Field]) -> Layout:
    """Return the layout of a view's fields, in their order."""
    return _layout(tuple(fields))


def pack(fields: Sequence[Field], values: Sequence[Value], event_us: int, created_us: int) -> bytes:
    """Encode one row; see `Layout.pack`."""
    return layout_of(fields).pack(values, event_us, created_us)


def unpack(fields: Sequence[Field], row: bytes) -> PackedRow:
    """Decode one row; see `Layout.unpack`."""
    return layout_of(fields).unpack(row)


def row_times(row: bytes) -> tuple[int, int]:
    """Return event and created time of a packed row, in microseconds since the epoch (UTC)."""
    return _TIMES.unpack_from(row)


def entity_key(join_keys: Mapping[str, Key]) -> str:
    """Encode an entity's join keys: in order of their names, each value with its type, so that 1 is not '1'."""
    (key,) = entity_keys({name: [value] for name, value in join_keys.items()})
    if key is None:
        raise ValueError(f"join keys {dict(join_keys)} hold a null; an entity has all of its keys")
    return key


def entity_keys(join_keys: Mapping[str, Sequence[Key]]) -> list[str | None]:
    """Encode columns of join keys [rows], by name; None where one is null."""
    return encode_keys([join_keys[name] for name in sorted(join_keys)])


def encode_keys(columns: Sequence[Sequence[Key]]) -> list[str | None]:
    """Encode columns of join keys [rows], in the order of their names; None where one is null.

    All parts but the last carry their length, so that ("xb", "y") is not ("x", "by").
    """
    *firsts, last = columns
    try:
        return _text_keys(firsts, last)
    except TypeError:  # not all of them are texts
        return _any_keys(firsts, last)


def _text_keys(firsts: Sequence[Sequence[Any]], last: Sequence[Any]) -> list[str | None]:
    keys = ["s" + value for value in last]
    for column in reversed(firsts):
        keys = [f"s{len(value)}:" + value + key for value, key in zip(column, keys, strict=True)]
    return keys  # type: ignore[return-value]


def _any_keys(firsts: Sequence[Sequence[Key]], last: Sequence[Key]) -> list[str | None]:
    columns = [
        [None if v is None else f"s{len(v)}:{v}" if isinstance(v, str) else f"i{v:d}:" for v in c] for c in firsts
    ]
    columns.append([None if v is None else f"s{v}" if isinstance(v, str) else f"i{v:d}" for v in last])
    return [None if None in parts else "".join(parts) for parts in zip(*columns, strict=True)]  # type: ignore[arg-type]


def _padded(slots: str) -> struct.Struct:
    return struct.Struct(f"{slots}{max(_LEAST - struct.calcsize(slots), 0)}x")


def _texts(rows: Sequence[bytes], begins: Sequence[int], ends: Sequence[int]) -> list[Value]:
    try:
        return [row[begin:end].decode() for row, begin, end in zip(rows, begins, ends, strict=True)]
    except UnicodeDecodeError as error:
        raise ValueError(f"a row's text is not UTF-8 ({error})") from error


def _set_nulls(values: list[Any], nulls: Sequence[int], first: int) -> None:
    """Put None where a bit of the bitmap is set; `first` is the field of bit 0. Most rows have none."""
    touched = list(compress(enumerate(nulls), nulls))
    for index in _bits(reduce(or_, [mask for _, mask in touched])):
        if not isinstance(values[first + index], list):
            values[first + index] = list(values[first + index])
    for row, mask in touched:
        for index in _bits(mask):
            values[first + index][row] = None


@lru_cache(maxsize=4096)
def _bits(mask: int) -> tuple[int, ...]:
    """Return the places of the bits that are set."""
    return tuple(index for index in range(mask.bit_length()) if mask >> index & 1)
