"""The features of an answer, view by view: the published row, how it was made, and the raw rows it was made from.

Everything is of the versions on record, not of what is declared now. What a step cannot tell any more it says.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import polars as pl

from assets.resources import Platform
from assets.trace_answer import Answer
from assets.trace_raw import evidence, raw_columns, raw_records, source_step, unproven
from checks.audit_trail import audit_step
from checks.feature_row import FeatureRow, feature_row, instants, told_keys
from checks.raw_behind import Asked, find_raw_behind
from ml.column_graph import ColumnGraph
from ml.compiled_sql import graph_of_recipe
from ml.feature_views import FeatureView
from ml.history import CREATED, EVENT
from ml.lake import PARTITION_KEY, WHOLE
from ml.publication import Publication
from ml.rebuild import Made, RawTables, Rebuilder
from ml.recipe import Recipe, recipe_of
from ml.source import Source
from ml.trace import Step, attempt


@dataclass
class RawUsed:
    """Raw partitions behind the features seen so far, by (table, pinned version)."""

    partitions: dict[tuple[str, int], set[str]] = field(default_factory=dict)

    def add(self, recipe: Recipe, behind: Mapping[str, pl.DataFrame]) -> None:
        """Note the partitions of raw rows."""
        for table, rows in behind.items():
            partitions = set(rows[PARTITION_KEY].unique()) if PARTITION_KEY in rows.columns else {WHOLE}
            self.partitions.setdefault((table, recipe.raw[table]), set()).update(partitions)


@dataclass(frozen=True)
class Features:
    """Looks the features of one answer up."""

    platform: Platform
    sources: Sequence[Source]
    answer: Answer
    used: RawUsed = field(default_factory=RawUsed)

    def steps(self) -> Iterator[Step]:
        """Yield a step a view, then one a raw table behind them."""
        rebuilder = Rebuilder(RawTables(self.platform.lake, self.sources))
        try:
            views = views_of(self.answer, self.platform)
        except (LookupError, ValueError) as error:
            yield Step("feature", "feature views", gone=(f"which views were read is not known: {error}",))
            return
        for view in views:
            yield attempt("feature", view.name, lambda view=view: self._view(view, rebuilder))  # type: ignore[misc]
        for (table, version), partitions in sorted(self.used.partitions.items()):
            name = f"{table} version {version}"
            yield attempt(
                "source",
                name,
                lambda t=table, v=version, p=partitions: source_step(self.platform, self.sources, t, v, p),  # type: ignore[misc]
            )

    def _view(self, view: FeatureView, rebuilder: Rebuilder) -> Step:
        publication, found, gone = self._found(view)
        table = f"published/{view.name} version {publication.version}"
        facts = {
            "status": found.why or f"{len(found.logged)} features",
            **({"known at": found.event} if found.event else {}),
            "in": table + (f", month {found.month}" if found.month else ""),
        }
        facts |= {} if found.published.is_empty() else _times(found)
        below, cells = self._made(found, publication.staged, rebuilder) if found.served else ((), tuple(found.cells()))
        return Step("feature", f"{view.name} of {told_keys(found.keys)}", facts, cells, gone, below)

    def _found(self, view: FeatureView) -> tuple[Publication, FeatureRow, tuple[str, ...]]:
        """Return the row in what is published now or, where that does not agree, in an earlier version that does."""
        current = self.platform.publications.require(view.name)
        found, problems = self._look_up(view, current)
        if not problems:
            return current, found, ()
        for version, before in reversed(self.platform.publications.kept(view.name).items()):
            earlier, differs = (found, problems) if version == current.version else self._look_up(view, before)
            if not differs:
                told = f"published/{view.name} version {current.version}, which is published now, has it no more"
                return before, earlier, (f"the row of {view.name} that was served is of version {version}; {told}",)
        return current, found, problems

    def _look_up(self, view: FeatureView, publication: Publication) -> tuple[FeatureRow, tuple[str, ...]]:
        row = self.answer.row
        rows = self.platform.lake.read(f"published/{view.name}", publication.version)
        mine = [pl.col(key) == pl.lit(row.get(key)) for key in view.join_keys]
        found = feature_row(view, row, rows.filter(mine).collect())
        return found, found.problems(rows.select(pl.col(EVENT).max()).collect().item())

    def _made(
        self, found: FeatureRow, staged: Mapping[str, int], rebuilder: Rebuilder
    ) -> tuple[tuple[Step, ...], tuple[dict[str, Any], ...]]:
        """Return how the row was made, and its values with the columns that they come from."""
        table, month = f"features/{found.view.name}", str(found.month)
        if month not in staged:
            return (Step("data", table, gone=(f"nobody recorded which version of {table} {month} is of",)),), ()
        version, name = staged[month], f"{table}[{month}] version {staged[month]}"
        metadata = self.platform.lake.metadata(table, version)
        checks = attempt("checks", "checks", lambda: audit_step(self.platform.guard, [(table, month, version)]))
        recipe = recipe_of(metadata)
        if recipe is None:
            gone = f"{name} does not say which raw versions and SQL made it"
            return (Step("data", name, gone=(gone,), below=(checks,)),), tuple(found.cells())
        graph = graph_of_recipe(table, recipe, raw_columns(self.platform, recipe.raw))
        facts = {"made in run": metadata.get("run"), "from": {t: f"version {v}" for t, v in recipe.raw.items()}}
        facts["rows chosen by"] = _told(graph.row_columns(table))
        made = Step("data", name, facts, gone=_failures(graph), below=(checks,))
        cells = tuple({**cell, "columns": _told(graph.raw_columns((table, cell["feature"])))} for cell in found.cells())
        rows = [attempt("raw", "raw rows", lambda: self._raw(found, Made((month,), recipe), graph, rebuilder))]
        return (made, *(rows if found.status == "present" else ())), cells

    def _raw(self, found: FeatureRow, made: Made, graph: ColumnGraph, rebuilder: Rebuilder) -> Step:
        values = found.published.select(f.name for f in found.view.fields)
        assert found.event is not None
        asked = Asked(found.keys, values, found.event, max(instants(found).values()))
        behind = find_raw_behind(rebuilder, found.view, made, asked, graph)
        self.used.add(made.recipe, behind.rows)
        shown = {source.table: source for source in self.sources}
        used = {c for f in found.view.fields for c in graph.raw_columns((f"features/{found.view.name}", f.name))}
        rows = tuple(
            row
            for table, frame in behind.rows.items()
            for row in raw_records(shown[table], frame, [name for origin, name in sorted(used) if origin == table])
        )
        counts = [f"{f.height:,} row{'s' * (f.height > 1)} of {table}" for table, f in behind.rows.items()]
        name = ", ".join(counts) or "no raw rows"
        return Step("raw", name, evidence(behind), rows, unproven(behind, found))


def views_of(answer: Answer, platform: Platform) -> list[FeatureView]:
    """Return the views that the version read, as its plan has them; as dbt declares them where the plan is gone.

    Raises LookupError if there is no manifest then.
    """
    if answer.plan is None or answer.version is None:
        return [view for view in platform.feature_views if f"{view.name}__status" in answer.row]
    read = {(i.view, i.source) for i in answer.version.inputs}
    views = [
        FeatureView(
            name=view.name,
            entities=tuple(key.name for key in view.join_keys),
            join_keys=tuple(key.name for key in view.join_keys),
            join_key_kinds=tuple(key.kind for key in view.join_keys),
            ttl=timedelta(seconds=view.ttl_seconds),
            owner="",
            online=True,
            description="",
            fields=tuple(found for found in view.fields if (view.name, found.name) in read),
        )
        for view in answer.plan.views
    ]
    return [view for view in views if view.fields]


def _times(found: FeatureRow) -> dict[str, Any]:
    times = instants(found)
    return {"corrected at": times[CREATED]} if times[CREATED] != times[EVENT] else {}


def _failures(graph: ColumnGraph) -> tuple[str, ...]:
    return tuple(f"columns of {table} are not known: {why}" for table, why in graph.failed.items())


def _told(columns: Sequence[tuple[str, str]]) -> str:
    """Return columns in one text, those of a table together; none: a constant, or a count of rows."""
    tables = dict.fromkeys(table for table, _ in columns)
    return "; ".join(f"{t}: {', '.join(name for table, name in columns if table == t)}" for t in tables)
