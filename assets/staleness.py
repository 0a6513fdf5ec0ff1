"""What is out of date, by Dagster's own data versions: missing, or made from inputs or code that changed."""

from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

WHOLE_ASSET = ""


def out_of_date(
    definitions: dg.Definitions, instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]
) -> dict[dg.AssetKey, list[str]]:
    """Return, for each key that needs work, its partitions that do ([""] for an unpartitioned asset)."""
    graph = definitions.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    found = {}
    for key in keys:
        partitions = graph.get(key).partitions_def
        names: list[str | None] = list(partitions.get_partition_keys()) if partitions else [None]
        stale = [name for name in names if resolver.get_status(key, name) != StaleStatus.FRESH]
        if stale:
            found[key] = [name or WHOLE_ASSET for name in stale]
    return found
