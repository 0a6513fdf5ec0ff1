"""The columns of everything that dbt built last in this home, as one graph; with what stands on it, of the whole line.

Without Dagster, which takes a second.
"""

from collections.abc import Iterable, Sequence

from assets.resources import Platform
from ml.column_graph import ColumnGraph
from ml.compiled_sql import graph_of_builds
from ml.lake import PARTITION_KEY
from ml.line_columns import link_line
from ml.source import Source
from ml.spec import ModelSpec

_ADDED = ("event_timestamp", "created_timestamp")  # by landing


def built_columns(platform: Platform, sources: Iterable[Source]) -> ColumnGraph:
    """Return the columns of raw tables as declared, and of dbt's models by each one's last build.

    Raises LookupError if there is no manifest.
    """
    raw = {s.table: [*s.schema, *_ADDED, *([PARTITION_KEY] if s.partition is not None else [])] for s in sources}
    return graph_of_builds(platform.manifest, platform.settings.dbt_target, raw)


def line_columns(platform: Platform, sources: Iterable[Source], models: Sequence[ModelSpec]) -> ColumnGraph:
    """Return the same graph with published tables, training sets and models' inputs.

    Raises LookupError if there is no manifest.
    """
    return link_line(built_columns(platform, sources), platform.feature_views, models)
