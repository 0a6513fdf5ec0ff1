"""`python -m assets.vacuum`: remove what the retention settings no longer keep, and never what is in use.

What is in use is decided in `ml.retention`; here the parts are asked, one kind after the other, and what goes
is told and removed. A dry run only tells. Safe beside runs: a published table is planned and cleared under the
lock that publishing and rolling back take, and nothing younger than the grace period goes.
"""

import argparse
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

from assets.command import in_one_line
from assets.in_use import last_dbt_build, prediction_logs_in_use, reports_in_use, versions_in_use
from assets.instance import open_instance
from assets.old_runs import remove_runs, spent_runs
from assets.quiet import leave
from assets.resources import Platform, platform_for
from assets.scores import WORK
from ml.clock import RealClock
from ml.housekeeping import Housekeeping
from ml.models import MODELS
from ml.process import held_open
from ml.retention import InUse, Rules, kept_versions, old_files, versions_published
from ml.settings import Settings

MOST_FILES = 100  # of a table that grows by appends: opening and reading it takes as many steps


@dataclass(frozen=True)
class Gone:
    """What went, or would go, of one table or kind: versions no longer readable, files or runs, and bytes."""

    what: str
    versions: tuple[int, ...]
    count: int
    size: int

    def __str__(self) -> str:
        versions = f"{len(self.versions)} versions ({_span(self.versions)})" if self.versions else ""
        return f"{self.what:<36}{versions:<28}{self.count:>7} {_amount(self.size):>12}"


def rules_of(settings: Settings) -> Rules:
    """Return the retention rules that the settings give."""
    return Rules(
        staged=timedelta(days=settings.keep_staged_days),
        published=timedelta(days=settings.keep_published_days),
        training_sets=timedelta(days=settings.keep_training_sets_days),
        logs=timedelta(days=settings.keep_logs_days),
        runs=timedelta(days=settings.keep_runs_days),
        rollbacks=settings.keep_rollbacks,
        grace=timedelta(hours=settings.vacuum_grace_hours),
    )


def vacuum_tables(platform: Platform, dry_run: bool) -> Iterator[Gone]:
    """Clear every table of the lake; yield those of which something goes."""
    in_use = versions_in_use(platform)
    for table in platform.lake.tables():
        gone = vacuum_table(platform, table, in_use, dry_run)
        if gone.count:
            yield gone


def vacuum_table(platform: Platform, table: str, in_use: InUse, dry_run: bool) -> Gone:
    """Clear one table of all versions but those that `in_use`, the publication log or the rules keep."""
    lake, rules = platform.lake, rules_of(platform.settings)
    housekeeping = Housekeeping(lake)
    good = platform.guard.passed(table) if table.startswith("raw/") else lambda version, partition: False
    with lake.lock(table):
        if not dry_run and housekeeping.appended_files(table) > MOST_FILES:
            housekeeping.compact(table)
        published = versions_published(lake, platform.publications, table, in_use, rules.rollbacks)
        keep = kept_versions(
            table,
            lake.history(table),
            in_use.of(table) | published,
            good,
            rules,
            RealClock().now(),
        )
        sizes = housekeeping.vacuum(table, keep, rules.grace, dry_run=True)
        versions = tuple(housekeeping.versions_with(table, sizes))
        if sizes and not dry_run:
            housekeeping.vacuum(table, keep, rules.grace, dry_run=False)
    return Gone(table, versions, len(sizes), sum(sizes.values()))


def vacuum_files(platform: Platform, dry_run: bool) -> Iterator[Gone]:
    """Remove old reports, logs and landed prediction logs, and what killed processes left in work folders."""
    settings, rules, now = platform.settings, rules_of(platform.settings), RealClock().now()
    home, before, dead = settings.root, now - max(rules.logs, rules.grace), now - rules.grace
    shown, opened, build, dbt = reports_in_use(platform), held_open(), last_dbt_build(platform), settings.dbt_target
    kinds: list[tuple[str, Path, datetime, Callable[[Path], bool]]] = [
        ("reports", settings.reports, before, lambda path: path.stem.endswith(shown)),
        ("profiles", settings.profiles, now - max(rules.training_sets, rules.grace), lambda path: False),
        ("logs of tools", home / "logs", before, opened.__contains__),
        ("dbt builds", dbt, before, lambda path: path.parent == dbt or build in path.parents),
        ("left in training", home / "training", dead, opened.__contains__),
        ("left in scoring", home / WORK, dead, opened.__contains__),
        ("left in serving/staging", settings.serving_home / "staging", dead, opened.__contains__),
    ]
    for spec in MODELS:
        what, folder = f"prediction logs of {spec.name}", settings.serving_home / "predictions" / spec.name
        kinds.append((what, folder, before, prediction_logs_in_use(platform, spec.name).__contains__))
    for what, folder, until, used in kinds:
        yield from _remove(what, old_files(folder, until, used), dry_run)


def vacuum_runs(
    platform: Platform, instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey], dry_run: bool
) -> Iterator[Gone]:
    """Remove old runs of Dagster and MLflow that say nothing of what is current."""
    from ml import old_runs

    rules = rules_of(platform.settings)
    before = RealClock().now() - max(rules.runs, rules.grace)
    spent = spent_runs(instance, checks, before)
    storage = Path(instance.storage_directory())
    if spent:
        yield Gone("Dagster runs", (), len(spent), sum(_weight(storage / run) for run in spent))
    unregistered = old_runs.unregistered_runs(platform.registry, before)
    if unregistered:
        later = ", for its mlflow gc" if old_runs.collected_by_server(platform.registry) else ""
        yield Gone(f"MLflow runs without a version{later}", (), len(unregistered), 0)
    if not dry_run:
        remove_runs(instance, spent)
        if unregistered:
            old_runs.remove_runs(platform.registry, unregistered)


def _remove(what: str, files: list[Path], dry_run: bool) -> Iterator[Gone]:
    if not files:
        return
    yield Gone(what, (), len(files), sum(path.stat().st_size for path in files))
    for path in [] if dry_run else files:
        path.unlink(missing_ok=True)
        with suppress(OSError):  # others are in it
            path.parent.rmdir()


def _span(versions: tuple[int, ...]) -> str:
    return ", ".join(map(str, versions)) if len(versions) <= 5 else f"{versions[0]} to {versions[-1]}"


def _amount(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _weight(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def run(platform: Platform, dry_run: bool) -> Iterator[Gone]:
    """Clear all kinds, one after the other; yield what went, or in a dry run would go."""
    from assets.definitions import definitions_for

    yield from vacuum_tables(platform, dry_run)
    yield from vacuum_files(platform, dry_run)
    checks = definitions_for(platform).resolve_asset_graph().asset_check_keys
    with open_instance(platform.settings) as instance:
        yield from vacuum_runs(platform, instance, checks, dry_run)


@in_one_line(Exception)
def main(words: Sequence[str] | None = None) -> int:
    """Run the command; return 1 after one line on what failed."""
    parser = argparse.ArgumentParser(
        prog="python -m assets.vacuum",
        description="Remove what the retention settings (docs/reference.md) no longer keep; nothing in use goes.",
    )
    parser.add_argument("--dry-run", action="store_true", help="tell what would go, and remove nothing")
    dry_run = parser.parse_args(words).dry_run
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    platform, size = platform_for(Settings()), 0
    print(f"{'would go' if dry_run else 'gone':<36}{'':<28}{'items':>7} {'size':>12}")
    for gone in run(platform, dry_run):
        print(gone, flush=True)
        size += gone.size
    print(f"{_amount(size)} {'would be freed; nothing was removed' if dry_run else 'freed'}")
    return 0


if __name__ == "__main__":
    leave(main())
