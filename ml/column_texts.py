"""What columns mean, in the words of who declares them: sources for raw tables, dbt's YAML for all that it builds."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from ml.column_graph import ColumnGraph
from ml.dbt_manifest import read_manifest, table_of
from ml.source import Source
from ml.sql_lineage import Column

TIMES = {
    "event_timestamp": "Instant (UTC) at which the row became known.",
    "created_timestamp": "Instant (UTC) at which this version of the row became known.",
}


def column_texts(manifest: Path, sources: Iterable[Source]) -> dict[Column, str]:
    """Return the descriptions of columns of raw tables and of dbt's models. Raises LookupError without a manifest."""
    texts = {(s.table, name): text for s in sources for name, (_, text) in s.columns.items()}
    texts |= {(s.table, name): text for s in sources for name, text in TIMES.items()}
    for node in read_manifest(manifest)["nodes"].values():
        if node["resource_type"] == "model":
            table = f"{node['schema']}/{table_of(node)}"
            texts |= {(table, name): column["description"] for name, column in node["columns"].items()}
    return texts


def text_of(graph: ColumnGraph, texts: Mapping[Column, str], column: Column) -> str:
    """Return what a column means: its own text, else that of the one column which it copies; "" if nobody says."""
    own = texts.get(column, "")
    parents = graph.parents(column)
    return own or (text_of(graph, texts, parents[0]) if len(parents) == 1 and column[0] not in graph.sources else "")
