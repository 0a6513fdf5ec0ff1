"""The features stage: dbt on DuckDB or Spark, a range of months in one run, exported as versions that can be audited.

A run reads raw versions that the guard admitted (the months asked for and those its tables look back to), builds and
tests with dbt, writes each feature table's months to features/<name> and records dbt's tests as the
verdict on exactly that version. Publishing is another asset.
"""

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import chdir
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from dagster_dbt import DagsterDbtTranslator, DbtCliInvocation, DbtCliResource, dbt_assets
from dagster_dbt.core.dbt_event_iterator import DbtEventIterator
from packaging.version import Version

from assets.automation import WHEN_CHECKED
from assets.column_lineage import with_columns
from assets.expectations import expectations_gate
from assets.gates import Gate, gate_checks, own_gates
from assets.history import history_gate
from assets.metadata import preview, tell_months
from assets.mirror import Judgement, record
from assets.partitions import partitions_of, table_months
from assets.resources import Platform
from assets.step_pods import LARGE
from assets.views import BUILT_FROM, admit_build
from checks.dbt_tests import CHECK as DBT_TESTS
from checks.dbt_tests import FEATURES_FOLDER, built_tables, check_dbt_tests, errors
from checks.history import Table
from checks.suite import EVENT, Suite, suite_of_feature_table
from ml import remedies
from ml.dbt_lineage import sources_behind
from ml.dbt_manifest import engine_of, read_manifest, table_of
from ml.dbt_output import DUCKDB, RECIPE_MANIFEST, RECIPE_RESULTS
from ml.lake import WHOLE
from ml.look_back import load_look_backs, raw_read
from ml.months import Months
from ml.recipe import collect_recipe
from ml.source import Source
from ml.view_definitions import Definition
from ml.warehouse import read_feature_table

POOL = "duckdb"  # DuckDB has one writer
_TYPES: Mapping[str | None, pl.DataType] = {
    "float": pl.Float64(),
    "int": pl.Int64(),
    "string": pl.String(),
    "bool": pl.Boolean(),
    "instant": pl.Datetime("us", "UTC"),
}


class Translator(DagsterDbtTranslator):
    """Names dbt's nodes as DESIGN does: raw/<source>, staging/<model>, features/<table>."""

    def __init__(self, look_backs: Mapping[str, int]) -> None:
        super().__init__()
        self._look_backs = look_backs

    def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
        """Return the stage and the name."""
        if dbt_resource_props["resource_type"] == "source":
            return dg.AssetKey(["raw", dbt_resource_props["name"]])
        stage = "features" if FEATURES_FOLDER in dbt_resource_props["fqn"] else "staging"
        return dg.AssetKey([stage, table_of(dbt_resource_props)])

    def get_owners(self, dbt_resource_props: Mapping[str, Any]) -> Sequence[str] | None:
        """Return the owner that the view's YAML names, else the project's."""
        meta = dbt_resource_props.get("config", {}).get("meta", {})
        view = meta.get("feature_view") or meta.get("outcome") or {}
        owner = view.get("owner") or meta.get("owner")
        return [owner] if owner else None

    def get_partition_mapping(
        self, dbt_resource_props: Mapping[str, Any], dbt_parent_resource_props: Mapping[str, Any]
    ) -> dg.PartitionMapping | None:
        """A month of staging stands for the raw months that the feature tables built on it look back to."""
        if dbt_parent_resource_props["resource_type"] != "source":
            return None
        months = self._look_backs.get(dbt_parent_resource_props["unique_id"], 0)
        return dg.TimeWindowPartitionMapping(start_offset=-months, allow_nonexistent_upstream_partitions=True)

    def get_automation_condition(self, dbt_resource_props: Mapping[str, Any]) -> dg.AutomationCondition | None:
        """Run when inputs changed and their checks passed."""
        return WHEN_CHECKED


class InstalledDbt(DbtCliResource):
    """The dbt of this Python. Its version stands in its package: dbt itself takes seconds, and the network, to say."""

    @cached_property
    def _cli_version(self) -> Version:
        return Version(version("dbt-core"))


def dbt_resource(platform: Platform) -> DbtCliResource:
    """Return the dbt command line on this environment's output, warehouse and lake.

    Raises LookupError if HEADWATER_DBT_OUTPUT names no output of the project's profile.
    """
    output = platform.dbt_output
    os.environ.update(
        **output.variables(platform.settings), DBT_TARGET_PATH=str(platform.settings.dbt_target), DO_NOT_TRACK="true"
    )
    project = str(platform.dbt_project)
    return InstalledDbt(
        project_dir=project, profiles_dir=project, target=output.name, dbt_executable=str(output.executable)
    )


def feature_assets(platform: Platform, sources: Sequence[Source]) -> list[dg.AssetsDefinition]:
    """Return dbt's models as assets, those of the same months built together.

    Raises LookupError if the manifest has not been built.
    """
    if not platform.manifest.exists():
        raise LookupError(f"dbt's manifest {platform.manifest} is missing; {remedies.parse()}")
    if engine_of(platform.manifest) != platform.dbt_output.engine:
        raise LookupError(
            f"dbt's manifest {platform.manifest} is for {engine_of(platform.manifest)}, and "
            f"HEADWATER_DBT_OUTPUT={platform.dbt_output.name} is on {platform.dbt_output.engine}; {remedies.parse()}"
        )
    alike: dict[Months, list[str]] = {}
    for table, months in table_months(platform.manifest, sources).items():
        alike.setdefault(months, []).append(table)
    return [_build_of(platform, sources, months, tables) for months, tables in alike.items()]


def _build_of(
    platform: Platform, sources: Sequence[Source], span: Months, tables: Sequence[str]
) -> dg.AssetsDefinition:
    """Return the asset that builds tables of the same months."""

    @dbt_assets(
        manifest=read_manifest(platform.manifest),  # dagster-dbt would keep what it once read from a path
        select=" ".join(selectors(platform.manifest, tables)),
        name=f"dbt_build_{span.first}_{span.last or 'on'}".replace("-", "_"),
        partitions_def=partitions_of(span),
        backfill_policy=dg.BackfillPolicy.single_run(),
        dagster_dbt_translator=Translator(load_look_backs(platform.manifest)),
        pool=POOL,
        op_tags=LARGE,
    )
    def dbt_build(
        context: dg.AssetExecutionContext, dbt: DbtCliResource, platform: dg.ResourceParam[Platform]
    ) -> Iterator[Any]:
        platform.dbt_output.require(platform.settings)
        months = list(context.partition_keys)
        selected = [key.path[-1] for key in context.selected_asset_keys]
        raw = admitted_raw(platform, sources, selected, months)
        variables = {"start_month": months[0], "end_month": months[-1], "raw_versions": raw}
        definitions = admit_build(platform, f"dagster run {context.run.run_id}", selected)
        context.log.info(f"dbt build {months[0]} to {months[-1]}")
        build = dbt.cli(["build", "--vars", json.dumps(variables)], context=context, raise_on_error=False)
        # Dagster hears of a table only when its version and verdict are in the lake.
        with chdir("."):  # dagster-dbt's threads leave the process in dbt's folder
            built = list(build.stream())  # waiting for dbt inside of the fetching takes a whole core, from dbt itself
            events = described(platform, DbtEventIterator(iter(built), build))
        release_warehouse(build)
        if not (build.target_path / "run_results.json").exists():
            raise dg.Failure("dbt ended before it built anything; its words are above, and in this step's stderr")
        told = export(platform, context.run.run_id, build, months, definitions, raw)
        problems = errors(build.get_artifact("run_results.json"))
        if problems:
            yield from (event for event in events if isinstance(event, dg.AssetCheckResult | dg.AssetCheckEvaluation))
            raise dg.Failure(
                f"dbt build of {months[0]} to {months[-1]}: " + "; ".join(problems[:5]), allow_retries=False
            )
        for table, entries in told.items():
            tell_months(context, table, platform.lake.read(table, int(entries["table version"]), months))
        yield from with_columns(platform, sources, context, events, told)

    return dbt_build


def selectors(manifest: Path, tables: Collection[str]) -> list[str]:
    """Return what selects the models of these tables, each version of a model for itself, in dbt's own words."""
    models = [node for node in read_manifest(manifest)["nodes"].values() if node["resource_type"] == "model"]
    return sorted(".".join(node["fqn"]) for node in models if table_of(node) in tables)


def described(platform: Platform, events: DbtEventIterator[Any]) -> list[Any]:
    """Return dbt's events, with rows and columns as dagster-dbt fetches them where this process can ask the engine.

    A session of Spark has ended with its dbt: there our own column lineage is recorded (`with_columns`).
    """
    if platform.dbt_output.engine != DUCKDB:
        return list(events)
    return list(events.fetch_row_counts().fetch_column_metadata(with_column_lineage=False))


def release_warehouse(build: DbtCliInvocation) -> None:
    """Close what dagster-dbt opened in this process to fetch metadata: it would lock out the next writer."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    if build.adapter is not None:
        build.adapter.cleanup_connections()
    DuckDBConnectionManager.close_all_connections()


def admitted_raw(
    platform: Platform, sources: Sequence[Source], tables: Sequence[str], months: list[str]
) -> dict[str, int]:
    """Ask the guard for the raw months that building `tables` reads; return the versions to pin, by source."""
    read, pinned = raw_read(platform.manifest, tables), dict[str, int]()
    for source in sources:
        if source.name in read:
            pinned[source.name] = platform.lake.version(source.table) if platform.lake.exists(source.table) else 0
            wanted = [WHOLE]
            if source.partition is not None and source.months is not None:
                wanted = source.months.with_look_back(months, read[source.name])
            if wanted:
                platform.guard.admit("features", source.table, wanted)
    return pinned


def export(
    platform: Platform,
    run_id: str,
    build: DbtCliInvocation,
    months: list[str],
    definitions: Mapping[str, Definition],
    raw: Mapping[str, int],
) -> dict[str, dict[str, Any]]:
    """Write the built months of each feature table as a new version, with how it was made and dbt's verdict on it.

    Returns what the UI shows of each.
    """
    results = build.get_artifact("run_results.json")
    warehouse, judgements, told = platform.warehouse, [], dict[str, dict[str, Any]]()
    in_duckdb = _sql_of(platform, build)
    for name in built_tables(platform.manifest, results):
        frame = read_feature_table(warehouse, name, months)
        recipe = collect_recipe(*in_duckdb, warehouse, name, raw)
        definition = definitions[name].rows if name in definitions else None
        made_by = {"run": run_id, BUILT_FROM: definition, **recipe.to_metadata()}
        version = platform.lake.replace(f"features/{name}", frame, months, made_by)
        outcome = check_dbt_tests(platform.manifest, results, name, warehouse)
        judgements += [Judgement(f"features/{name}", version, DBT_TESTS, outcome, month) for month in months]
        told[f"features/{name}"] = {
            "table version": str(version),
            "preview": dg.MetadataValue.md(preview(frame.lazy())),
        }
    record(platform, run_id, judgements)
    return told


def _sql_of(platform: Platform, build: DbtCliInvocation) -> tuple[Path, Mapping[str, Any]]:
    """Return manifest and results with the SQL of a build in DuckDB's dialect, in which rows are made again."""
    if platform.dbt_output.engine == DUCKDB:
        return platform.manifest, build.get_artifact("run_results.json")
    return build.target_path / RECIPE_MANIFEST, json.loads((build.target_path / RECIPE_RESULTS).read_text())


def feature_checks(manifest: Path, name: str, months: Months, blocks_from: int) -> dg.AssetChecksDefinition:
    """Return the checks of features/<name> beside dbt's tests."""
    return gate_checks(f"features/{name}", feature_gates(manifest, name, blocks_from), months=months)


def history_months(manifest: Path, sources: Sequence[Source]) -> dict[str, int]:
    """Return from how many good months on its history blocks each table of dbt, by its name: as its sources say."""
    wanted = {source.name: source.history_months for source in sources}
    return {
        table: max((wanted.get(name, 0) for name in behind), default=0)
        for table, behind in sources_behind(manifest).items()
    }


def feature_gates(manifest: Path, name: str, blocks_from: int = 0) -> list[Gate]:
    """Return what judges a month of features/<name> beside dbt's tests."""
    suite = suite_of_feature_table(manifest, name)
    # One definition at a time: what is made by other SQL is no past to be measured by.
    history = history_gate(
        _history_table(suite),
        may_be_empty=suite.may_be_empty,
        made_alike=lambda commit: commit.get(BUILT_FROM),
        blocks_from=blocks_from,
    )
    return [expectations_gate(suite), history, *own_gates(suite.table)]


def _history_table(suite: Suite) -> Table:
    key = suite.key if set(suite.unique) == set(suite.key) else (*suite.key, EVENT)
    return Table(suite.table, key, {name: _TYPES[kind] for name, kind in suite.kinds.items() if kind in _TYPES})
