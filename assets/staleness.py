"""What is out of date: by Dagster's data versions, by a source or a publication that changed, or for want of a verdict.

Dagster knows what is missing or made from inputs or code that changed. It does not look into sources, and
an asset whose check never ended looks fresh to it.
"""

from collections.abc import Sequence

import dagster as dg

# Not public yet: the only place where Dagster tells whether a partition is stale.
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from assets.resources import Platform
from assets.score_inputs import champion, republished
from assets.training import BOUNDS, bounds_of
from checks.required import MODEL
from ml.batch_scores import MODEL_VERSION
from ml.lake import WHOLE
from ml.landing import changed_partitions
from ml.models import model_named
from ml.sources import SOURCES

Stale = dict[dg.AssetKey, list[str]]


def out_of_date(
    definitions: dg.Definitions, platform: Platform, instance: dg.DagsterInstance, keys: Sequence[dg.AssetKey]
) -> Stale:
    """Return, for each key that needs work, its partitions that do ([""] for an unpartitioned asset)."""
    graph = definitions.resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    found: Stale = {}
    for key in keys:
        partitions = graph.get(key).partitions_def
        names = list(partitions.get_partition_keys()) if partitions else [WHOLE]
        more = {*unproven(platform, key, names), *changed(platform, key, names), *superseded(platform, key)}
        more |= set(outdated_scores(platform, key))
        stale = [n for n in names if n in more or resolver.get_status(key, n or None) != StaleStatus.FRESH]
        if stale:
            found[key] = stale
    return found


def unproven(platform: Platform, key: dg.AssetKey, partitions: Sequence[str]) -> list[str]:
    """Return the partitions of which a required check has not passed on what they hold now.

    A model is unproven only if a check on its newest version never ended, or refused it by other bounds than its spec
    has now: one that was refused stays so.
    """
    table = "/".join(key.path)
    if key.path[-1] == "model":
        numbers = [int(v.version) for v in platform.registry.versions(key.path[0])[:1]]
        bounds = bounds_of(model_named(key.path[0]))
        given = [platform.verdicts.newest(table, n, WHOLE, check) for n in numbers for check in MODEL]
        open_ones = [v for v in given if v is None or (not v.passed and v.evidence.get(BOUNDS, bounds) != bounds)]
        return [WHOLE] if open_ones else []
    if key.path[0] not in ("raw", "features") and key.path[-1] not in ("training_set", "scores"):
        return []
    versions, passed = platform.lake.partition_versions(table, partitions), platform.guard.passed(table)
    return [p for p in partitions if not passed(versions.get(p, -1), p)]


def superseded(platform: Platform, key: dg.AssetKey) -> list[str]:
    """Return [""] for a training set joined from other versions than those now published.

    Dagster leaves all dependencies on every partition of a table out of its data versions.
    """
    table = "/".join(key.path)
    if key.path[-1] != "training_set" or not (commits := platform.lake.history(table)[:1]):
        return []
    joined = commits[0]["metadata"].get("sources", {})
    published = {name: platform.publications.current(name) for name in joined}
    return [WHOLE] if any(now is None or now.version != joined[name] for name, now in published.items()) else []


def outdated_scores(platform: Platform, key: dg.AssetKey) -> list[str]:
    """Return the months of a model's scores that another version serves now than made them, or other rows were read.

    Dagster sees neither a rollback of the model nor one of published data: nothing is materialized.
    """
    if key.path[-1] != "scores":
        return []
    spec, table = model_named(key.path[0]), "/".join(key.path)
    serving = champion(platform, spec.name)
    versions = platform.lake.partition_versions(table)
    made = {month: platform.lake.metadata(table, version) for month, version in versions.items()}
    now = (serving.version, serving.threshold)
    return [
        month
        for month, facts in made.items()
        if (facts[MODEL_VERSION], facts["threshold"]) != now or republished(platform, spec, facts["sources"], month)
    ]


def changed(platform: Platform, key: dg.AssetKey, partitions: Sequence[str]) -> list[str]:
    """Return the partitions of a raw table whose source holds other rows than have landed."""
    for source in SOURCES:
        if key.path == ["raw", source.name] and platform.lake.exists(source.table):
            names = None if source.partition is None else partitions
            return changed_partitions(source, platform.lake, platform.clock, names, platform.guard.passed(source.table))
    return []
