"""Tables as Dagster metadata: what the UI shows of rows and columns."""

import base64
from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from ml.lake import PARTITION_KEY

_WIDE, _LONGEST = 60_000, 60  # characters: of a line, which is never broken, and of a text


def column_schema(schema: Mapping[str, Any], texts: Mapping[str, str] | None = None) -> dg.TableSchema:
    """Return a schema (column name to type) as the UI's column table, with what a column means where `texts` say it."""
    told = texts or {}
    return dg.TableSchema(
        [dg.TableColumn(name, str(t), description=told.get(name) or None) for name, t in schema.items()]
    )


def whole_table(rows: pl.LazyFrame) -> int:
    """Return the number of rows, which Dagster shows on the asset's page as that of the table."""
    return int(rows.select(pl.len()).collect().item())


def preview(rows: pl.LazyFrame, count: int = 5) -> str:
    """Return the first rows as a Markdown table."""
    frame = rows.head(count).collect()
    with pl.Config(
        tbl_formatting="ASCII_MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_cols=-1,
        tbl_width_chars=_WIDE,
        fmt_str_lengths=_LONGEST,
    ):
        return str(frame)


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
