"""All that rests on a column: SQL, features, checks, models, registered versions, what is deployed.

`trace_column` answers what breaks or changes if the column goes. What answers rest on is in `trace_features`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from assets.built_columns import built_columns
from assets.resources import Platform
from checks.column_mentions import dbt_tests_on, expectations_on, files_naming
from checks.suite import FOLDER as SUITES
from ml.column_graph import ColumnGraph, Touched
from ml.feature_views import BOOKKEEPING, TIME_COLUMNS
from ml.source import Source
from ml.sources import SOURCES
from ml.spec import ModelSpec
from ml.sql_lineage import Column
from ml.trace import Step, attempt
from serving.model_repository import ModelRepository

_TRIED = 100  # rows
UNREAD = "does not read it"
NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def trace_column(
    platform: Platform, wanted: str, models: Sequence[ModelSpec], sources: Sequence[Source] = SOURCES
) -> Step:
    """Return all that rests on a column: raw/weather.visib, features/<view>.<column>, or <view>:<feature>.

    Raises LookupError naming near columns if there is none of that name, ValueError if that names no column.
    """
    column = parse_column(wanted)
    graph = built_columns(platform, sources)
    touched, name = graph.touched(column), ".".join(column)
    features = Features(graph, column, touched)
    below = [
        *_source(platform, sources, column),
        _sql(graph, touched),
        features.step(),
        attempt("checks", "checks and notebooks", lambda: _mentions(platform, column, touched)),
        *(attempt("impact", f"model {s.name}", lambda s=s: _model(platform, s, features)) for s in models),  # type: ignore[misc]
    ]
    gone = tuple(f"{table}: {why}" for table, why in graph.failed.items())
    told = "what it is made from" if graph.parents(column) else "a source's column"
    facts: dict[str, Any] = (
        {told: [".".join(c) for c in graph.raw_columns(column)]} if graph.parents(column) else {"is": told}
    )
    return Step("impact", f"column {name}", facts, gone=gone, below=tuple(below))


def parse_column(wanted: str) -> Column:
    """Return table and column of what a person wrote. Raises ValueError with the forms there are."""
    feature = re.fullmatch(r"(\w+):(\w+)", wanted)
    if feature:
        return f"features/{feature[1]}", feature[2]
    column = re.fullmatch(r"(?:published/(\w+)|(\w+/\w+))\.(\w+)", wanted)
    if not column:
        raise ValueError(
            f"{wanted!r} names no column; write raw/weather.visib, features/weather_observation.visib or "
            "weather_observation:visib"
        )
    return f"features/{column[1]}" if column[1] else column[2], column[3]


class Features:
    """Features by what happens to them if the column goes: other values, other rows, or no new rows."""

    def __init__(self, graph: ColumnGraph, column: Column, touched: Touched) -> None:
        """Sort the columns of features/* tables."""
        stopped = {*touched.named, *touched.built_on}
        found = [c for c in (column, *touched.values) if c[0].startswith("features/")]
        self.values = [_feature(c) for c in found if c[1] not in BOOKKEEPING]
        self.instants = [c[0].partition("/")[2] for c in found if c[1] in TIME_COLUMNS]
        self.rows = {table.partition("/")[2] for table in touched.rows if table.startswith("features/")}
        self.stopped = [table.partition("/")[2] for table in graph.made if table in stopped and "features/" in table]

    def step(self) -> Step:
        """Return them."""
        facts: dict[str, Any] = {
            "computed from it": self.values or "none",
            "known at another instant": list(dict.fromkeys(self.instants)) or "none",
            "rows chosen by it": sorted(self.rows) or "none",
            "built no more until the SQL is changed": self.stopped or "none",
        }
        return Step("impact", "features", {k: v for k, v in facts.items() if v != "none"} or {"features": "none"})

    def of(self, references: Iterable[str]) -> dict[str, list[str]]:
        """Return those of some features that are computed from the column, and those whose view it touches else."""
        read = list(references)
        direct = [name for name in read if name in self.values]
        rows = [name for name in read if name not in self.values and name.split(":")[0] in self.rows]
        views = list(dict.fromkeys(name.split(":")[0] for name in read))
        stopped = [view for view in views if view in self.stopped]
        told = {"computed from it": direct, "rows chosen by it": rows, "of views built no more": stopped}
        return {words: names for words, names in told.items() if names}


def _feature(column: Column) -> str:
    return f"{column[0].partition('/')[2]}:{column[1]}"


def _source(platform: Platform, sources: Iterable[Source], column: Column) -> Iterator[Step]:
    """Yield what the landing of a raw column's source makes of it."""
    for source in (s for s in sources if s.table == column[0]):
        yield attempt("source", f"landing of {source.table}", lambda s=source: _landing(platform, s, column[1]))  # type: ignore[misc]


def _landing(platform: Platform, source: Source, name: str) -> Step:
    uses = [
        *(["the key of a row"] if name in source.key else []),
        *(["the partition"] if source.partition is not None and name in source.partition.meta.root_names() else []),
        *_rules_reading(platform, source, name),
        *(["what is known earlier than the row"] if any(name in e.columns for e in source.known_earlier) else []),
    ]
    facts = {
        "declared": f"source {source.name!r}, read from {source.reader.origin}",
        "meaning": source.columns[name][1] if name in source.columns else "added by landing",
        "used for": uses or "nothing else",
        "without it": "landing refuses the source, which does not fit its declaration; what has landed stays",
    }
    return Step("source", f"landing of {source.table}", facts)


def _rules_reading(platform: Platform, source: Source, name: str) -> list[str]:
    """Return the rules for knowledge times that fail without a column: they are run on a few rows, with and without."""
    rows = platform.lake.read(source.table).select(list(source.schema)).head(_TRIED).collect()
    rules = {"the instant at which a row is known": [source.known_at]}
    rules["the instant at which a part of it is known"] = [part.known_at for part in source.known_earlier]
    less = rows.drop(name, strict=False)
    return [told for told, some in rules.items() if any(_runs(r, rows) and not _runs(r, less) for r in some)]


def _runs(rule: Any, rows: pl.DataFrame) -> bool:
    try:
        rule(rows)
    except (pl.exceptions.PolarsError, KeyError):
        return False
    return True


def _sql(graph: ColumnGraph, touched: Touched) -> Step:
    rows = tuple({"column": ".".join(c), "from": ".".join(parent)} for c, parent in touched.values.items())
    facts: dict[str, Any] = {"does not run without it": list(touched.named), "built on that": list(touched.built_on)}
    facts |= {"rows chosen by it": {table: f"by {'.'.join(c)}" for table, c in touched.rows.items()}}
    return Step("columns", "dbt models", {k: v for k, v in facts.items() if v} or {"dbt models": "none"}, rows)


def _mentions(platform: Platform, column: Column, touched: Touched) -> Step:
    """Return the expectations, dbt tests and notebooks that name the column, or one that is computed from it."""
    rows: list[dict[str, Any]] = []
    for table, name in (column, *touched.values):
        rows += [{"of": f"{table}.{name}", "check": found} for found in expectations_on(SUITES, table, name)]
        rows += [{"of": f"{table}.{name}", "check": found} for found in dbt_tests_on(platform.manifest, table, name)]
    facts = {"checks": len(rows), "notebooks": files_naming(NOTEBOOKS, column) or "none"}
    return Step("columns", "checks and notebooks", facts, tuple(rows))


def _model(platform: Platform, spec: ModelSpec, features: Features) -> Step:
    """Return what a model loses: by its spec, by registered versions, by what serves."""
    told = features.of(spec.features)
    outcome = f"{spec.outcome.table}:"
    label = [name.removeprefix(outcome) for name in features.values if name.startswith(outcome)]
    facts: dict[str, Any] = {"features": told or UNREAD}
    facts |= {f"columns of {spec.outcome.table}": label} if label else {}
    if spec.outcome.table in features.stopped:
        facts["new rows to learn from"] = f"none: features/{spec.outcome.table} is built no more"
    deployed = attempt("impact", "deployed", lambda: _deployed(platform, spec.name, features))
    versions = attempt("impact", "registered versions", lambda: _versions(platform, spec.name, features))
    return Step("impact", f"model {spec.name}", facts, below=(versions, deployed))


def _deployed(platform: Platform, model: str, features: Features) -> Step:
    plan = ModelRepository(platform.settings.serving_home).deployed(model)
    if plan is None:
        return Step("impact", "deployed", {"deployed": "not deployed"})
    arms = {
        f"{arm.variant} version {arm.version.version}": features.of(
            f"{i.view}:{i.source}" for i in arm.version.inputs if i.view
        )
        or UNREAD
        for arm in plan.lineup
    }
    reads = any(told != UNREAD for told in arms.values())
    then = {"then": "it answers on by rows that nobody replaces; past their ttl they are null"} if reads else {}
    return Step("impact", f"deployed, plan revision {plan.revision}", {**arms, **then})


def _versions(platform: Platform, model: str, features: Features) -> Step:
    """Return the versions that have an alias, and the newest, by the spec that was kept with each one's run."""
    from ml.run_facts import SPEC_FILE

    registry = platform.registry
    with registry.failures():
        found = registry.versions(model)
    facts: dict[str, Any] = {} if found else {"registered": "none"}
    gone: list[str] = []
    for version in found:
        if not version.aliases and version is not found[0]:
            continue
        name = ", ".join(version.aliases) or "newest"
        try:
            with registry.failures():
                read = json.loads(registry.artifact(version, SPEC_FILE).read_text())["features"]
            facts[f"version {version.version} ({name})"] = features.of(read) or UNREAD
        except (LookupError, ValueError, OSError) as error:
            gone.append(f"which features version {version.version} reads is not known: {error}")
    return Step("impact", "registered versions", facts, gone=tuple(gone))
