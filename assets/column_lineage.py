"""Where columns come from, on assets: Dagster's own lineage, and as a table that its open-source edition shows.

The graph is that of `built_columns`; the page that draws it is made in `column_page`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from assets.built_columns import built_columns, line_columns
from assets.metadata import column_schema, markdown_table
from assets.resources import Platform
from ml.column_graph import ColumnGraph
from ml.column_texts import column_texts, text_of
from ml.source import Source
from ml.spec import ModelSpec
from ml.sql_lineage import Column

ENTRY = "columns made from"
LINEAGE, SCHEMA = "dagster/column_lineage", "dagster/column_schema"


def with_columns(
    platform: Platform,
    sources: Sequence[Source],
    context: dg.AssetExecutionContext,
    events: Iterable[Any],
    told: Mapping[str, Mapping[str, Any]],
) -> Iterator[Any]:
    """Yield dbt's events; those of built models say where columns come from, and what is `told` of their table.

    Of a table in the lake, types are those of the lake, which readers get, and not those of dbt's engine.
    """
    graph, texts = built_columns(platform, sources), column_texts(platform.manifest, sources)
    for event in events:
        if isinstance(event, dg.Output):
            table = "/".join(context.asset_key_for_output(event.output_name).path)
            entries = {**event.metadata, **told.get(table, {}), **lineage_of(graph, table)}
            if table in told:
                rows = platform.lake.read(table, int(told[table]["table version"]))
                entries |= {SCHEMA: _schema(graph, texts, table, rows.collect_schema())}
            event = event.with_metadata(entries)
        yield event


def columns_of(
    platform: Platform, sources: Sequence[Source], models: Sequence[ModelSpec], table: str, schema: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the UI shows of the columns of a table of the line: types, meaning, where they come from.

    By what dbt built last. `schema` are the types of the columns that are there.
    """
    graph, texts = line_columns(platform, sources, models), column_texts(platform.manifest, sources)
    return {SCHEMA: _schema(graph, texts, table, schema), **lineage_of(graph, table)}


def _schema(graph: ColumnGraph, texts: Mapping[Column, str], table: str, schema: Mapping[str, Any]) -> dg.TableSchema:
    return column_schema(schema, {name: text_of(graph, texts, (table, name)) for name in schema})


def lineage_of(graph: ColumnGraph, table: str) -> dict[str, Any]:
    """Return both entries; of a table whose columns nobody can say only the one that says why."""
    if table not in graph.made:
        return {ENTRY: f"not known: {graph.failed.get(table, 'nothing declares such a table')}"}
    return {LINEAGE: _lineage(graph, table), ENTRY: dg.MetadataValue.md(_table(graph, table))}


def _lineage(graph: ColumnGraph, table: str) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(dg.AssetKey(parent.split("/")), column) for parent, column in parents]
            for name in graph.columns[table]
            if (parents := graph.parents((table, name)))
        }
    )


def _table(graph: ColumnGraph, table: str) -> str:
    rows = tuple(
        {
            "column": name,
            "made from": _told(graph.parents((table, name))),
            "raw columns": _told(graph.raw_columns((table, name))),
        }
        for name in graph.columns[table]
    )
    return f"{markdown_table(rows)}\n\nRows are chosen by {_told(graph.row_columns(table))}."


def _told(columns: Iterable[Column]) -> str:
    return ", ".join(f"{table}.{name}" for table, name in columns) or "no column: counted rows, or a constant"
