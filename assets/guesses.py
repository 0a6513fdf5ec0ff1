"""What a file's rows suggest about it: types, which columns name a row, since when it is known.

Guesses, for a person to confirm: the rows that are there need not be like those to come.
"""

import gzip
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from itertools import combinations
from pathlib import Path

import polars as pl

from ml.source import CsvReader, ParquetReader, Reader

_KEPT = (pl.String, pl.Boolean, pl.Date)  # as they are, besides whole numbers, numbers and instants in microseconds
_TYPES: Sequence[pl.DataType] = (pl.Int64(), pl.Float64(), pl.Boolean(), pl.Date(), pl.Datetime("us", "UTC"))
_MOST_COLUMNS, _LONGEST_KEY = 12, 4


def reader_of(path: str) -> Reader:
    """Return the reader for a file. Raises LookupError if it is not there, ValueError if there is none for it."""
    if not Path(path).is_file():
        raise LookupError(f"no file {path!r}; FILE names a CSV (.csv, .csv.gz, .csv.zip) or a Parquet file (.parquet)")
    if path.endswith(".parquet"):
        return ParquetReader(path)
    if path.endswith((".csv", ".csv.gz", ".csv.zip")):
        return CsvReader(path)
    raise ValueError(
        f"{path!r} is neither .csv, .csv.gz, .csv.zip nor .parquet; convert it, or declare a SqlReader by hand"
    )


def schema_of(reader: Reader) -> dict[str, pl.DataType]:
    """Return the types with which the rows can be declared. Raises ValueError that names what cannot be."""
    if isinstance(reader, CsvReader):
        _refuse_other_separator(reader.origin)
    rows = reader.read({})
    if rows.is_empty():
        raise ValueError(f"{reader.origin} has no rows; a schema is guessed from rows")
    schema = {
        name: _type_of(rows[name]) if isinstance(reader, CsvReader) else rows.schema[name] for name in rows.columns
    }
    odd = {name: str(dtype) for name, dtype in schema.items() if not _declarable(dtype)}
    if odd:
        raise ValueError(
            f"{reader.origin}: columns {odd} are of types that a source does not declare; write them as text, numbers, "
            "booleans, dates or timestamps in microseconds"
        )
    return schema


def key_of(rows: pl.DataFrame, time: str | None) -> tuple[str, ...]:
    """Return the fewest columns in which no two rows agree: ids and text before the time before whole numbers.

    Raises ValueError if rows repeat in all columns that a key could have.
    """
    text = [name for name, dtype in rows.schema.items() if dtype == pl.String]
    whole = [name for name, dtype in rows.schema.items() if dtype.is_integer()]
    named = [name for name in whole if name == "id" or name.endswith("_id")]
    order = [*named, *text, *([time] if time else []), *(name for name in whole if name not in named)]
    possible = [name for name in dict.fromkeys(order) if not rows[name].null_count()][:_MOST_COLUMNS]
    for size in range(1, _LONGEST_KEY + 1):
        for names in combinations(possible, size):
            if set(names) <= set(whole) - set(named) and time:  # measurements may differ by chance
                continue
            if not rows.select(pl.struct(names).is_duplicated().any()).item():
                return names
    raise ValueError(
        f"no {_LONGEST_KEY} of the columns {possible} name a row: rows repeat in them; remove what is doubled from the "
        "file, or add a column that numbers the rows"
    )


def time_of(rows: pl.DataFrame) -> str | None:
    """Return the first column with an instant in every row, else the first with a day, None without one."""
    for kind in (pl.Datetime, pl.Date):
        for name, dtype in rows.schema.items():
            if dtype.base_type() == kind and not rows[name].null_count():
                return name
    return None


def dtype_code(dtype: pl.DataType) -> str:
    """Return the Python code of a type."""
    if isinstance(dtype, pl.Datetime):
        zone = f', "{dtype.time_zone}"' if dtype.time_zone else ""
        return f'pl.Datetime("us"{zone})'
    return f"pl.{dtype.base_type().__name__}()"


def _refuse_other_separator(path: str) -> None:
    """Raise ValueError if the header of a CSV is one column in which another separator stands."""
    header = _header(path)
    found = next((sign for sign in ";\t|" if sign in header and "," not in header), None)
    if found:
        raise ValueError(f"{path} has one column named {header!r}; is {found!r} the separator? Write it with commas")


def _header(path: str) -> str:
    """Return the first line of a CSV, "" if it cannot be read: its reader says why."""
    with suppress(OSError, EOFError, zipfile.BadZipFile, IndexError):
        if path.endswith(".zip"):
            with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
                return file.readline().decode(errors="replace").strip()
        with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
            return file.readline().decode(errors="replace").strip()
    return ""


def _type_of(text: pl.Series) -> pl.DataType:
    """Return the first type, from the narrowest, in which all values of a CSV's column can be read."""
    values = text.drop_nulls()
    if values.is_empty():
        return pl.String()
    # A number that begins with a zero is a name: 007 and 7 are two.
    named = values.str.contains(r"^[+-]?0\d").any()
    return next((dtype for dtype in (_TYPES if not named else _TYPES[2:]) if _reads(values, dtype)), pl.String())


def _reads(text: pl.Series, dtype: pl.DataType) -> bool:
    """Whether polars' CSV reader takes every value for `dtype`, as CsvReader will ask it to."""
    content = BytesIO(pl.DataFrame({"value": text}).write_csv().encode())
    try:
        found = pl.read_csv(content, schema_overrides={"value": dtype}, infer_schema=False)["value"]
    except pl.exceptions.PolarsError:
        return False
    return not found.null_count() and len(found) == len(text)


def _declarable(dtype: pl.DataType) -> bool:
    micro = isinstance(dtype, pl.Datetime) and dtype.time_unit == "us"
    return dtype.is_integer() or dtype.is_float() or dtype.base_type() in _KEPT or micro
