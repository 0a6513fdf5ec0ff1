"""The columns that no SQL makes: what publishing copies, a training set joins and a model reads, as lineage.

By the declarations that do it: dbt's views and each ModelSpec. Not here: SQL (`sql_lineage`), linking (`column_graph`).
"""

from collections.abc import Iterable, Mapping, Sequence

from ml.column_graph import ColumnGraph
from ml.feature_views import TIME_COLUMNS, FeatureView
from ml.spec import ModelSpec, column_of
from ml.sql_lineage import Column, SqlLineage


def link_line(graph: ColumnGraph, views: Iterable[FeatureView], models: Sequence[ModelSpec]) -> ColumnGraph:
    """Add published tables, training sets and models' inputs to the graph of what dbt built, and return it.

    What stands on a table whose columns are not known is told in `failed`.
    """
    keys = {view.name: view.join_keys for view in views}
    for name in dict.fromkeys([*keys, *(spec.outcome.table for spec in models)]):
        _link(graph, f"published/{name}", (f"features/{name}",), _copied(f"features/{name}", graph))
    for spec in models:
        table, joined = f"{spec.name}/training_set", [f"published/{name}" for name in (*spec.views, spec.outcome.table)]
        _link(graph, table, joined, _joined(spec, keys))
        _link(graph, f"{spec.name}/model", (table,), _read(table, model_columns(spec)))
    return graph


def model_columns(spec: ModelSpec) -> tuple[str, ...]:
    """Return what a model's ONNX graph reads, features and request fields, as its training set calls them."""
    return (*(column_of(reference) for reference in spec.features), *(field.name for field in spec.request))


def _link(graph: ColumnGraph, table: str, read: Sequence[str], made: SqlLineage) -> None:
    unknown = [name for name in read if name not in graph.columns]
    if unknown:
        why = graph.failed.get(unknown[0], "dbt declares no such model")
        graph.failed[table] = f"it is made from {unknown[0]}, whose columns are not known: {why}"
        return
    graph.add(table, made)


def _copied(table: str, graph: ColumnGraph) -> SqlLineage:
    return _read(table, graph.columns.get(table, ()))


def _read(table: str, columns: Sequence[str]) -> SqlLineage:
    return SqlLineage({name: frozenset([(table, name)]) for name in columns}, frozenset())


def _joined(spec: ModelSpec, keys: Mapping[str, Sequence[str]]) -> SqlLineage:
    """Return the lineage of a training set; its columns in the order of ml/training_set.py."""
    outcome, table = spec.outcome, f"published/{spec.outcome.table}"
    joined = [key for name in spec.views for key in keys.get(name, ())]
    told = [outcome.row_id, *joined, *(field.name for field in spec.request), outcome.prediction_time]
    told += [outcome.label, outcome.label_timestamp, *outcome.auxiliary]
    values: dict[str, frozenset[Column]] = {name: frozenset([(table, name)]) for name in dict.fromkeys(told)}
    for reference in spec.features:
        view, _, feature = reference.partition(":")
        values[column_of(reference)] = frozenset([(f"published/{view}", feature)])
    rows = {(table, name) for name in (outcome.label, outcome.prediction_time, *joined)}
    rows |= {(f"published/{view}", name) for view in spec.views for name in (*keys.get(view, ()), *TIME_COLUMNS)}
    return SqlLineage(values, frozenset(rows))
