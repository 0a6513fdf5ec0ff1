"""Where columns come from, as a table in the Dagster UI: its open-source edition hides the lineage that it records.

The graph is that of `built_columns`; here it is put on assets, as Dagster's own record too where dagster-dbt made none.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import dagster as dg

from assets.built_columns import built_columns
from assets.metadata import markdown_table
from assets.resources import Platform
from ml.column_graph import ColumnGraph
from ml.source import Source
from ml.sql_lineage import Column

ENTRY = "columns made from"
RECORD = "dagster/column_lineage"


def with_columns(
    platform: Platform, sources: Iterable[Source], context: dg.AssetExecutionContext, events: Iterable[Any]
) -> Iterator[Any]:
    """Yield dbt's events; those of built models say where their columns come from, or that nobody can say."""
    graph = built_columns(platform, sources)
    for event in events:
        if isinstance(event, dg.Output):
            table = "/".join(context.asset_key_for_output(event.output_name).path)
            event = event.with_metadata({**_recorded(graph, table), **event.metadata, ENTRY: of_table(graph, table)})
        yield event


def _recorded(graph: ColumnGraph, table: str) -> dict[str, Any]:
    """Return Dagster's own record of where a model's columns come from, none if that is not known."""
    if table not in graph.made:
        return {}
    parents = {name: graph.parents((table, name)) for name in graph.columns[table]}
    lineage = dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(dg.AssetKey(source.split("/")), column) for source, column in found]
            for name, found in parents.items()
        }
    )
    return {RECORD: dg.MetadataValue.column_lineage(lineage)}


def of_table(graph: ColumnGraph, table: str) -> dg.MarkdownMetadataValue:
    """Return where the columns of a model come from."""
    if table not in graph.made:
        return dg.MetadataValue.md(f"not known: {graph.failed.get(table, 'dbt declares no such model')}")
    rows = tuple(
        {"column": name, "made from": _told(graph.parents((table, name))), "raw columns": _raw(graph, (table, name))}
        for name in graph.columns[table]
    )
    return dg.MetadataValue.md(f"{markdown_table(rows)}\n\nRows are chosen by {_told(graph.row_columns(table))}.")


def of_features(platform: Platform, sources: Iterable[Source], features: Sequence[str]) -> dg.MarkdownMetadataValue:
    """Return where the features (view:feature) of a training set come from."""
    graph = built_columns(platform, sources)
    columns = {reference: (f"features/{reference.split(':')[0]}", reference.split(":")[1]) for reference in features}
    rows = tuple({"feature": reference, "raw columns": _raw(graph, column)} for reference, column in columns.items())
    return dg.MetadataValue.md(markdown_table(rows))


def _raw(graph: ColumnGraph, column: Column) -> str:
    if column[0] not in graph.made:
        return f"not known: {graph.failed.get(column[0], 'dbt declares no such model')}"
    return _told(graph.raw_columns(column))


def _told(columns: Iterable[Column]) -> str:
    return ", ".join(f"{table}.{name}" for table, name in columns) or "no column: counted rows, or a constant"
