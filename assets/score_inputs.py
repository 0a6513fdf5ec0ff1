"""What a month's scores are made from, admitted by the gates: the champion, published versions, the partitions read.

Not here: scoring (ml/batch_scores.py), writing (assets/scores.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from assets.resources import Platform
from assets.views import admit_use
from checks.guard import GateClosed
from ml import remedies
from ml.batch_scores import Graph, Questions, Version
from ml.extents import partitions_between
from ml.feature_views import FeatureView
from ml.history import EVENT
from ml.months import end_of, start_of
from ml.onnx_file import require_unchanged
from ml.spec import ModelSpec
from ml.task import task_of
from serving import plan as plans
from serving.model_repository import ModelRepository

Files = Mapping[str, list[str]]  # data files by partition
Sources = Mapping[str, int]  # published versions by table


@dataclass(frozen=True)
class Inputs:
    """The champion's graph, the published version of each table, and the partitions of it that are read."""

    graph: Graph
    version: Version
    features: tuple[str, ...]
    sources: Sources
    partitions: Mapping[str, list[str]]


def window(month: str) -> tuple[datetime, datetime]:
    """Return the first instant (UTC) of a month and that of the next: prediction times in between are its own."""
    return start_of(month), end_of(month)


def champion(platform: Platform, model: str) -> plans.Version:
    """Return the version that serves. Raises LookupError with the remedy if nothing is deployed."""
    plan = ModelRepository(platform.settings.serving_home).deployed(model)
    if plan is None:
        remedy = remedies.deploy(model, f"make model NAME={model}")
        raise LookupError(f"{model} is not deployed: there is nothing to score with; {remedy}")
    return plan.champion


def admitted(platform: Platform, spec: ModelSpec, month: str) -> Inputs:
    """Return what the month is scored with and from.

    Raises LookupError if nothing is deployed, or nothing published of the month; GateClosed, naming the check, if the
    champion's gates, or those of a partition that is read, have not passed.
    """
    reader = f"{spec.name}/scores"
    graph, version = _champion(platform, spec, reader)
    features = graph.references(platform.feature_views)
    tables = [spec.outcome.table, *dict.fromkeys(name.partition(":")[0] for name in features)]
    admit_use(platform, reader, tables[1:])
    sources, partitions = dict[str, int](), dict[str, list[str]]()
    for name in tables:
        published = platform.publications.current(name)
        if published is None:
            raise GateClosed(
                f"{reader} cannot read published/{name}: nothing published; materialize published/{name} first"
            )
        partitions[name] = sorted(files_read(platform, spec, name, published.version, month))
        if not partitions[name]:
            raise LookupError(_nothing_of(platform, name, published.version, month))
        sources[name] = platform.guard.admit_published(reader, name, partitions[name])
        if sources[name] != published.version:
            raise LookupError(f"published/{name} was published while {reader} looked at it; run {reader} again")
    return Inputs(graph, version, features, sources, partitions)


def files_read(platform: Platform, spec: ModelSpec, name: str, version: int, month: str) -> Files:
    """Return the files, by partition, of a published table that scoring a month reads.

    Of outcomes those with prediction times in the month; of a view those with events that may be known then, and not
    expired.
    """
    start, end = window(month)
    if name == spec.outcome.table:
        return partitions_between(platform.lake, f"published/{name}", version, spec.outcome.prediction_time, start, end)
    ttl = next((view.ttl for view in platform.feature_views if view.name == name), timedelta(0))
    return partitions_between(platform.lake, f"published/{name}", version, EVENT, start - ttl, end)


def differing(platform: Platform, spec: ModelSpec, ones: Sources, others: Sources, month: str) -> list[str]:
    """Return the tables of which scoring a month reads other rows in one set of published versions than in another."""
    return [
        name
        for name, version in ones.items()
        if name not in others
        or (
            version != others[name]
            and files_read(platform, spec, name, version, month)
            != files_read(platform, spec, name, others[name], month)
        )
    ]


def republished(platform: Platform, spec: ModelSpec, sources: Sources, month: str) -> list[str]:
    """Return the tables that are published with other rows now than in `sources`, as far as scoring a month reads."""
    published = {name: platform.publications.current(name) for name in sources}
    now = {name: found.version for name, found in published.items() if found is not None}
    return differing(platform, spec, sources, now, month)


def questions(platform: Platform, spec: ModelSpec, inputs: Inputs, month: str) -> Questions:
    """Return the rows of the month, labelled or not, and the features that are joined to them."""
    outcome, views = spec.outcome, _views(platform, inputs.features)
    keys = tuple(dict.fromkeys(key for view in views for key in view.join_keys))
    needed = list(
        dict.fromkeys([outcome.row_id, *keys, *inputs.graph.others(inputs.features), outcome.prediction_time])
    )
    table, version = f"published/{outcome.table}", inputs.sources[outcome.table]
    # A partition after the other, by name: the rows come in the same order whoever reads them.
    parts = [platform.lake.read(table, version, [name]) for name in inputs.partitions[outcome.table]]
    missing = sorted(set(needed) - set(parts[0].collect_schema().names()))
    if missing:
        raise ValueError(f"{table} version {version} has no column {missing}, which {inputs.graph.onnx} reads")
    rows = pl.concat([part.select(needed) for part in parts])
    return Questions(rows, asked_in(spec, month), outcome.row_id, keys, outcome.prediction_time, inputs.features)


def asked_in(spec: ModelSpec, month: str) -> pl.Expr:
    """Return whether a row's prediction time is in the month (UTC)."""
    start, end = window(month)
    return pl.col(spec.outcome.prediction_time).is_between(start, end, closed="left")


def _champion(platform: Platform, spec: ModelSpec, reader: str) -> tuple[Graph, Version]:
    served = champion(platform, spec.name)
    platform.guard.require(reader, f"{spec.name}/model", int(served.version))
    graph = Graph(Path(served.onnx))
    proven = require_unchanged(platform.registry.version(spec.name, served.version), graph.onnx)
    return graph, Version(served.version, proven, task_of(spec).output, served.threshold)


def _views(platform: Platform, features: tuple[str, ...]) -> list[FeatureView]:
    read = {reference.partition(":")[0] for reference in features}
    return [view for view in platform.feature_views if view.name in read]


def _nothing_of(platform: Platform, name: str, version: int, month: str) -> str:
    months = ", ".join(sorted(platform.lake.files_of(f"published/{name}", version)))
    return (
        f"nothing that {month} can be scored with is published of {name}; published are {months or 'no months'}: "
        f"materialize published/{name} for {month} first"
    )
