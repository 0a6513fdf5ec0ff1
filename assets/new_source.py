"""The two files of a new source: its declaration in `ml/sources`, and the entry by which dbt's SQL names its table.

What the file's rows cannot tell is to be filled in, what they only suggest (`assets/guesses.py`) is marked.
"""

from collections.abc import Mapping, Sequence
from json import dumps
from pathlib import Path

import polars as pl

from assets.guesses import dtype_code, key_of, reader_of, schema_of, time_of
from assets.new_files import FILL_IN, GUESS, ROOT, Draft, formatted, held, require_name
from ml.months import between, start_of
from ml.source import ParquetReader, Reader, Source
from ml.sources import SOURCES

_UNKNOWN = "2000-01"  # the first month, where no source has any


def new_source(name: str, file: str) -> tuple[Draft, Source]:
    """Return the files of a source called `name` that reads `file`, and the source itself, which has read it.

    Raises ValueError if the name is taken or is none, or the rows cannot be declared, LookupError if there is no file.
    """
    require_name(name, "source")
    if name in {source.name for source in SOURCES}:
        raise ValueError(f"a source {name!r} exists (raw/{name}); edit it, or take another name")
    reader = reader_of(_from_root(file))
    schema = schema_of(reader)
    rows = reader.read(schema)
    text = formatted(_declaration(name, reader, schema, rows))
    source = held(text, name, Source)
    source.known_at(source.read())
    return Draft({f"ml/sources/{name}.py": text, f"dbt_project/models/staging/raw_{name}.yml": _entry(name)}), source


def months_told(source: Source) -> str:
    """Say of which months it has partitions."""
    return "lands whole, in one partition" if source.months is None else str(source.months)


def _declaration(name: str, reader: Reader, schema: Mapping[str, pl.DataType], rows: pl.DataFrame) -> str:
    time = time_of(rows)
    kind = "ParquetReader" if isinstance(reader, ParquetReader) else "CsvReader"
    columns = "".join(
        f'{dumps(c)}: ({dtype_code(t)}, "{FILL_IN}: what it is, and its unit."),\n' for c, t in schema.items()
    )
    return (
        f'"""{FILL_IN}: what the rows are, and where they come from. Guessed from {rows.height} rows."""\n\n'
        + ("" if time else "from datetime import UTC, datetime\n\n")
        + "import polars as pl\n\n"
        + ("from ml.months import Months\n" if time else "")
        + f"from ml.source import {kind}, Source\n\n\n"
        + f"def _known_at(rows: pl.DataFrame) -> pl.Series:\n{_known_at(schema, time)}\n\n"
        + "# What a field means: ml/source.py, and docs/how-to.md, Add a table.\n"
        + f'{name.upper()} = Source(\n    name="{name}",\n    description="{FILL_IN}: what a row is.",\n'
        + f'    owner="team:fill-in",  # {FILL_IN}: an e-mail address, or team:<name>\n'
        + f"    reader={kind}({dumps(reader.origin)}),\n    columns={{\n{columns}}},\n"
        + f"    # {GUESS}: no two rows agree in these.\n    key={_names(key_of(rows, time))},\n"
        + "    known_at=_known_at,\n"
        + (_by_month(rows, time) if time else "")
        + ")\n"
    )


def _by_month(rows: pl.DataFrame, time: str) -> str:
    """The partition of a row, and the months that have rows."""
    has = rows.select(pl.col(time).dt.strftime("%Y-%m").unique().sort()).to_series().to_list()
    gaps = [month for month in between(has[0], has[-1]) if month not in has]
    without = f", without={_names(gaps)}" if gaps else ""
    return (
        f'    # {GUESS}: the month of a row.\n    partition=pl.col({dumps(time)}).dt.strftime("%Y-%m"),\n'
        f"    # {GUESS}: the months of the file; without the second, the table goes on.\n"
        f'    months=Months("{has[0]}", "{has[-1]}"{without}),\n'
    )


def _known_at(schema: Mapping[str, pl.DataType], time: str | None) -> str:
    """The body of the rule: everything point-in-time rests on it, so a guess is rather too late than too early."""
    if time is None:
        first = start_of(min((source.months.first for source in SOURCES if source.months), default=_UNKNOWN))
        instant = f"datetime({first.year}, {first.month}, {first.day}, tzinfo=UTC)"
        return (
            f'    """{FILL_IN}: since when each row is known. The rows do not say; {GUESS}: since the first month."""\n'
            f'    return pl.Series([{instant}], dtype=pl.Datetime("us", "UTC")).new_from_index(0, rows.height)\n'
        )
    dtype, column = schema[time], f"pl.col({dumps(time)})"
    if dtype == pl.Date:
        what = f"{GUESS}: a row is known when its {time} is over, in UTC"
        column = f'{column}.cast(pl.Datetime("us")).dt.replace_time_zone("UTC") + pl.duration(days=1)'
    elif isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        what = f"{GUESS}: a row is known from its {time} on, and that is UTC"
        column = f'{column}.dt.replace_time_zone("UTC")'
    else:
        what = f"{GUESS}: a row is known from its {time} on"
    return (
        f'    """{what}.\n\n    Not when the thing happened: training reads a row from here on.\n    """\n'
        f"    return rows.select({column}).to_series()\n"
    )


def _entry(name: str) -> str:
    return f"""version: 2

# The Delta table raw/{name}, as ml/sources/{name}.py lands it: {{{{ source('{name}', '{name}') }}}} in SQL.
sources:
  - name: {name}
    schema: raw
    tables:
      - name: {name}
        description: "{FILL_IN}: what a row is, and when it is known."
        config:
          meta:
            plugin: delta
            delta_table_path: "{{{{ env_var('HEADWATER_DBT_LAKE') }}}}/raw/{name}"
            as_of_version: "{{{{ (var('raw_versions', {{}}).get('{name}') or 0) | as_number }}}}"
"""


def _names(names: Sequence[str]) -> str:
    return f"({', '.join(map(dumps, names))}{',' if len(names) == 1 else ''})"


def _from_root(file: str) -> str:
    """Return the path as the platform will open it: it is started from the repository's root."""
    path = Path(file).expanduser()
    inside = path.absolute().is_relative_to(ROOT)
    return str(path.absolute().relative_to(ROOT) if inside else path.absolute())
