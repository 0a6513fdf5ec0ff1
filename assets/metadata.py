"""Tables as Dagster metadata: what the UI shows of rows and columns."""

import base64
from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from ml.lake import PARTITION_KEY

_WIDE, _LONGEST = 60_000, 60  # characters: of a line, which is never broken, and of a text
_MOST_COLUMNS, _FIRST = 12, 3  # as many fit side by side; of a wider table each column has a line with as many values


def column_schema(schema: Mapping[str, Any], texts: Mapping[str, str] | None = None) -> dg.TableSchema:
    """Return a schema (column name to type) as the UI's column table, with what a column means where `texts` say it."""
    told = texts or {}
    return dg.TableSchema(
        [dg.TableColumn(name, type_name(t), description=told.get(name) or None) for name, t in schema.items()]
    )


def type_name(of: Any) -> str:
    """Return the name of a column's type for people: an instant's says its zone."""
    if isinstance(of, pl.Datetime):
        return f"timestamp ({of.time_zone})" if of.time_zone else "timestamp"
    return str(of)


def whole_table(rows: pl.LazyFrame) -> int:
    """Return the number of rows, which Dagster shows on the asset's page as that of the table."""
    return int(rows.select(pl.len()).collect().item())


def preview(rows: pl.LazyFrame, count: int = 5) -> str:
    """Return the first rows as a Markdown table: of a wide table a line a column, or the UI would cut it off."""
    frame = rows.head(count).collect()
    if frame.width > _MOST_COLUMNS:
        return _by_column(frame.head(_FIRST))
    with pl.Config(
        tbl_formatting="ASCII_MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_cols=-1,
        tbl_width_chars=_WIDE,
        fmt_str_lengths=_LONGEST,
    ):
        return str(frame)


def _by_column(frame: pl.DataFrame) -> str:
    heads = ["first", "second", "third"][: frame.height]
    return markdown_table(
        tuple(
            {"column": name, **dict(zip(heads, (_short(value) for value in frame[name]), strict=True))}
            for name in frame.columns
        )
    )


def _short(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def tell_months(context: dg.AssetExecutionContext, table: str, rows: pl.LazyFrame) -> None:
    """Tell Dagster the rows of each month of a run: all else that a run of several tells, it tells of each of them."""
    counts = dict(rows.group_by(PARTITION_KEY).len().collect().iter_rows())
    for month in context.partition_keys:
        told = {"dagster/partition_row_count": counts.get(month, 0)}
        context.add_asset_metadata(told, dg.AssetKey(table.split("/")), month)


def shown(png: bytes) -> dg.MarkdownMetadataValue:
    """Return a picture that the UI shows in place."""
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(png).decode()})")


def markdown_table(rows: tuple[Mapping[str, Any], ...]) -> str:
    """Render rows (same keys) as a Markdown table, which the UI shows as one."""
    heads = list(rows[0])
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(_cell(row[head]) for head in heads) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    return str(value).replace("|", "\\|").replace("\n", " ")
