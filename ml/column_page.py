"""One HTML page that needs nothing else: the way of any column, up to raw columns and down to models' inputs.

Here: the data on it, from the graph. How it is drawn is in column_page.html.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ml.column_graph import ColumnGraph
from ml.column_texts import text_of
from ml.sql_lineage import Column

_TEMPLATE = Path(__file__).with_suffix(".html")
_PLACE = '"__DATA__"'


def column_page(graph: ColumnGraph, texts: Mapping[Column, str], ui: str = "") -> str:
    """Return the page; `ui` is where the Dagster UI is, whose assets it then links to."""
    data = json.dumps({"ui": ui, **page_data(graph, texts)}).replace("</", "<\\/")
    return _TEMPLATE.read_text(encoding="utf-8").replace(_PLACE, data)


def page_data(graph: ColumnGraph, texts: Mapping[Column, str]) -> dict[str, Any]:
    """Return every table with its depth (0: raw) and columns, each with its meaning and what it is computed from."""
    depths = dict[str, int]()
    for table in (*sorted(graph.sources), *graph.made):
        below = graph.reads(table) if table in graph.made else ()
        depths[table] = 1 + max((depths[name] for name in below), default=-1 if table in graph.sources else 0)
    tables = [
        {
            "name": table,
            "depth": depth,
            "columns": [_column(graph, texts, (table, name)) for name in graph.columns[table]],
            "rows": _names(graph.row_columns(table)),
        }
        for table, depth in sorted(depths.items(), key=lambda item: (item[1], item[0]))
    ]
    return {"tables": tables, "failed": dict(graph.failed)}


def _column(graph: ColumnGraph, texts: Mapping[Column, str], column: Column) -> dict[str, Any]:
    told = {"name": column[1], "from": _names(graph.parents(column)), "text": text_of(graph, texts, column)}
    return told | ({"raw": _names(graph.raw_columns(column))} if column[0] not in graph.sources else {})


def _names(columns: Iterable[Column]) -> list[str]:
    return [f"{table}.{name}" for table, name in columns]
