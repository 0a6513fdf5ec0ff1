"""The columns of everything that dbt built last in this home, as one graph. Without Dagster, which takes a second."""

from collections.abc import Iterable

from assets.resources import Platform
from ml.column_graph import ColumnGraph
from ml.compiled_sql import graph_of_builds
from ml.lake import PARTITION_KEY
from ml.source import Source

_ADDED = ("event_timestamp", "created_timestamp")  # by landing


def built_columns(platform: Platform, sources: Iterable[Source]) -> ColumnGraph:
    """Return the columns of raw tables as declared, and of dbt's models by each one's last build.

    Raises LookupError if there is no manifest.
    """
    raw = {s.table: [*s.schema, *_ADDED, *([PARTITION_KEY] if s.partition is not None else [])] for s in sources}
    return graph_of_builds(platform.manifest, platform.settings.dbt_target, raw)
