"""`make plan NAME=<model, source or feature view>`: what an entry adds to the line, before anything runs.

The assets, checks, jobs, sensors and schedules are the difference between the definitions with the entry and without
it; inputs and online keys are those of the plan that a router would get. Nothing is run, nothing is written.
"""

import argparse
import textwrap
import warnings
from collections.abc import Iterator, Sequence

from assets.command import REFUSALS, in_one_line
from assets.plan_graph import Graph, graph_of
from assets.plan_manifest import without_table
from assets.quiet import leave
from assets.resources import Platform, platform_for
from checks.suite import feature_tables
from ml.feature_views import FeatureView
from ml.look_back import raw_read
from ml.models import MODELS
from ml.settings import Settings
from ml.source import Source
from ml.sources import SOURCES
from ml.spec import ModelSpec
from ml.view_definitions import format_duration

Lines = Iterator[tuple[str, str]]
_WIDTH = 118


def model_plan(platform: Platform, spec: ModelSpec, sources: Sequence[Source] = SOURCES) -> Lines:
    """Yield what a model adds, as (title, line). Raises LookupError if it reads what dbt does not declare."""
    from assets.definitions import definitions_for
    from serving.build_plan import build_plan
    from serving.own_model import own_name

    others = [model for model in MODELS if model.name != spec.name]
    without = graph_of(definitions_for(platform, sources, others))
    yield from _graph(graph_of(definitions_for(platform, sources, [*others, spec])).without(without))
    plan = build_plan(spec, platform.feature_views, 1, "1", platform.settings.root / "model.onnx", platform.settings)
    own = (
        f"; each version's graph in a model of its own, {own_name(spec.name, '<version>')}" if plan.champion.own else ""
    )
    yield "Triton", f"router {spec.name}{own}"
    yield "inputs", ", ".join(f"{field.name} {field.dtype}" for field in plan.request)
    yield "answers", plan.output
    for view in plan.views:
        yield "online", f"reads {view.name} by {', '.join(key.name for key in view.join_keys)}"
    yield "MLflow", f"experiment and registered model {spec.name}; aliases champion, challenger, previous"


def source_plan(platform: Platform, source: Source) -> Lines:
    """Yield what a source adds, as (title, line)."""
    from assets.definitions import definitions_for

    others = [other for other in SOURCES if other.name != source.name]
    without = graph_of(definitions_for(platform, others))
    yield from _graph(graph_of(definitions_for(platform, [*others, source])).without(without))
    yield "reads", source.reader.origin
    tables = [n for n in feature_tables(platform.manifest) if source.name in raw_read(platform.manifest, [n])]
    yield "read by", ", ".join(f"features/{name}" for name in tables) or "no feature table yet"


def table_plan(platform: Platform, name: str) -> Lines:
    """Yield what a feature table adds, as (title, line)."""
    from assets.definitions import definitions_for

    views = {view.name: view for view in platform.feature_views}
    with without_table(platform, name) as before:
        models = [spec.reading_only([v for v in views if v != name]) for spec in MODELS if spec.outcome.table != name]
        without = graph_of(definitions_for(before, models=models))
    if name in views:
        yield from _graph(graph_of(definitions_for(platform, models=models)).without(without))
        yield from _view(views[name])
    else:
        yield from _graph(graph_of(definitions_for(platform)).without(without).only(name))
    yield "read by", ", ".join(_readers(name)) or "no model yet"


def plan_of(platform: Platform, name: str) -> dict[str, Lines]:
    """Return the plans of what is called `name`, by its kind and name. Raises LookupError with the known names."""
    found: dict[str, Lines] = {}
    found |= {f"model {spec.name}": model_plan(platform, spec) for spec in MODELS if spec.name == name}
    found |= {f"source {source.name}": source_plan(platform, source) for source in SOURCES if source.name == name}
    tables = feature_tables(platform.manifest)
    found |= {f"feature table {table}": table_plan(platform, table) for table in tables if table == name}
    if not found:
        raise LookupError(
            f"nothing is called {name!r}: models {[s.name for s in MODELS]}, sources {[s.name for s in SOURCES]}, "
            f"feature tables {tables}"
        )
    return found


def printed(title: str, lines: Lines) -> str:
    """Return a plan as text."""
    told = [f"plan: {title}"]
    for head, line in lines:
        told += textwrap.wrap(line, _WIDTH, initial_indent=f"  {head:<10}", subsequent_indent=" " * 12)
    return "\n".join(told)


def _graph(graph: Graph) -> Lines:
    for asset in graph.assets:
        yield "asset", f"{asset.key} ({asset.group}{', monthly' if asset.monthly else ''})"
        if asset.blocking:
            yield "", f"blocked by {', '.join(asset.blocking)}"
        if asset.warning:
            yield "", f"warned by {', '.join(asset.warning)}"
    for title, names in (("job", graph.jobs), ("sensor", graph.sensors), ("schedule", graph.schedules)):
        for name in names:
            yield title, name


def _view(view: FeatureView) -> Lines:
    entities = ", ".join(f"{entity} ({key})" for entity, key in zip(view.entities, view.join_keys, strict=True))
    yield "Feast", f"feature view {view.name} of {entities}: {', '.join(field.name for field in view.fields)}"
    kept = f"the newest row of each {', '.join(view.join_keys)}, for {format_duration(view.ttl.total_seconds())}"
    yield "online", kept if view.online else "nothing"


def _readers(name: str) -> list[str]:
    return [spec.name for spec in MODELS if name in spec.views or name == spec.outcome.table]


@in_one_line(*REFUSALS)
def main() -> int:
    """Print the plan of what is called as the command line says."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(prog="python -m assets.plan", description=__doc__)
    parser.add_argument("name", nargs="?", default="", help="a model, a source or a feature table")
    name = parser.parse_args().name
    platform = platform_for(Settings())
    print("\n\n".join(printed(*plan) for plan in plan_of(platform, name).items()))
    return 0


if __name__ == "__main__":
    leave(main())
