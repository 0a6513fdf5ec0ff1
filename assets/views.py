"""Definitions of feature views, wired: the guard that builds, publishing and serving ask; the record; retirement.

`python -m assets.views` (make views) lists every version with who reads it; `... accept NAME --reason TEXT` says that
changed SQL makes the same rows as before.
"""

import argparse
import getpass
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping

from assets.command import REFUSALS, in_one_line
from assets.resources import Platform, platform_for
from checks.view_guard import ViewGuard
from ml.online_rows import open_online_rows
from ml.settings import Settings
from ml.view_definitions import Definition, format_duration, load_definitions
from ml.view_log import ViewLog
from serving.model_repository import ModelRepository
from serving.view_readers import ViewReader, models_in_use

BUILT_FROM = "definition"  # in the commit of features/<name>: the Definition.rows that its months were built from


def view_guard(platform: Platform) -> ViewGuard:
    """Return the guard over what dbt declares now and what is on record."""

    def in_use() -> tuple[ViewReader, ...]:
        return models_in_use(ModelRepository(platform.settings.serving_home), platform.registry)

    return ViewGuard(ViewLog(platform.lake, platform.clock).in_force(), load_definitions(platform.manifest), in_use)


def admit_build(platform: Platform, run: str, names: Iterable[str]) -> Mapping[str, Definition]:
    """Let a build of `names` go on, retire what is no longer declared, and return what dbt declares.

    Raises GateClosed if a model in use reads one of them and it changed, or reads a version that is gone.
    """
    guard = view_guard(platform)
    guard.admit("dbt build", [name for name in names if name in guard.declared])
    for definition in guard.retired():
        retire(platform, definition, run)
    return guard.declared


def admit_use(platform: Platform, reader: str, names: Iterable[str]) -> None:
    """Let `reader` deploy on, or write online rows of, the views `names` in the layout that dbt declares.

    Raises GateClosed if a model in use, a challenger included, reads one of them and its definition is not the
    one on record: rows and plans of two layouts would be mistaken for each other.
    """
    view_guard(platform).admit(reader, names)


def retire(platform: Platform, definition: Definition, actor: str) -> None:
    """Record that a version is no longer declared; take its online rows and its Feast objects away.

    Its published table stays. Feast's registry is brought to what dbt declares.
    """
    open_online_rows(platform.settings.online_store).delete([definition.name])
    platform.feature_store({})
    ViewLog(platform.lake, platform.clock).record(definition, "retired", actor, reason="no longer declared in dbt")


def admit_publish(platform: Platform, name: str, staged: Mapping[str, int]) -> ViewGuard:
    """Return the guard if months of features/<name> ({"2013-01": version}) may be published beside those that are.

    Raises GateClosed if a model in use reads the version and it changed, or if a month was built from
    another definition.
    """
    guard, reader = view_guard(platform), f"published/{name}"
    guard.admit(reader, [name])
    current = platform.publications.current(name)
    together = _built_from(platform, name, {**(current.staged if current else {}), **staged})
    remedy = (
        f"materialize features/{name} for these months again and publish {min(together)} to {max(together)} in one run"
    )
    guard.admit_rows(reader, name, together, remedy)
    return guard


def admit_roll_back(platform: Platform, name: str, version: int) -> None:
    """Raise GateClosed if the rows of an earlier publication of a view were made by another definition."""
    guard = view_guard(platform)
    for publication in platform.publications.log(name):
        if publication.version == version and name in guard.declared:
            built_from = _built_from(platform, name, publication.staged)
            guard.admit_rows(f"rollback of published/{name}", name, built_from, "roll back to a later version")


def _built_from(platform: Platform, name: str, staged: Mapping[str, int]) -> dict[str, str | None]:
    """Return what each audited month was built from, as its commit says."""
    commits = {c["version"]: c["metadata"].get(BUILT_FROM) for c in platform.lake.history(f"features/{name}")}
    return {month: commits.get(version) for month, version in staged.items()}


def record_published(platform: Platform, guard: ViewGuard, name: str, actor: str) -> None:
    """Record the definition of what was just published, if it is new or differs from the one on record."""
    log, definition = ViewLog(platform.lake, platform.clock), guard.declared[name]
    if name not in guard.recorded:
        log.record(definition, "declared", actor, reason="published first")
        return
    changes = [difference.text for difference in guard.changes(name)]
    if definition.online and not guard.recorded[name][-1].definition.online:
        changes.append("now online")
    if changes:
        log.record(definition, "changed", actor, "; ".join(changes), reason="no model in use relied on it")


def accept(platform: Platform, name: str, actor: str, reason: str) -> str:
    """Record that changed SQL makes the same rows as before, and return what had changed.

    Raises LookupError if nothing changed, GateClosed if more than SQL did.
    """
    guard = view_guard(platform)
    changes = "; ".join(difference.text for difference in guard.require_acceptable(name))
    ViewLog(platform.lake, platform.clock).record(guard.declared[name], "accepted", actor, changes, reason)
    return changes


def listing(platform: Platform, only: str = "") -> Iterator[str]:
    """Yield the lines of a table with every version that is declared or on record, and how these two differ.

    `only` names one version, or a view with all of them. Raises LookupError if there is no such one.
    """
    guard = view_guard(platform)
    known = {name: entries[-1].definition for name, entries in guard.recorded.items()} | dict(guard.declared)
    chosen = [name for name in sorted(known) if only in ("", name, known[name].view)]
    if only and not chosen:
        raise LookupError(f"no feature view {only!r}; there are: {', '.join(sorted(known))}")
    yield _ROW.format("feature view", "version", "features", "ttl", "since", "read by", "declared")
    for name in chosen:
        entries, definition = guard.recorded.get(name, ()), known[name]
        features = [column for column, _ in definition.columns if column not in definition.join_keys]
        since = f"{entries[0].at:%Y-%m-%d %H:%M}" if entries else "-"
        readers = ", ".join(map(str, guard.readers(name))) or "-"
        ttl = format_duration(definition.ttl_seconds)
        yield _ROW.format(name, definition.version, len(features), ttl, since, readers, _state(guard, name))
        yield from textwrap.wrap(", ".join(features), 110, initial_indent="    ", subsequent_indent="    ")


_ROW = "{:<26} {:>7}  {:>8}  {:<4} {:<17} {:<44} {}"


def _state(guard: ViewGuard, name: str) -> str:
    if name not in guard.declared:
        return "no longer declared"
    if name not in guard.recorded:
        return "new: not published yet"
    changes = "; ".join(difference.text for difference in guard.changes(name))
    return f"differs: {changes}" if changes else "as recorded"


@in_one_line(*REFUSALS)
def main() -> int:
    """List the views, or accept one as the command line says. Returns 1 after one line on what failed."""
    parser = argparse.ArgumentParser(prog="python -m assets.views", description="Versions of feature views.")
    parser.add_argument("--name", default="", help="list only this view")
    actions = parser.add_subparsers(dest="action")
    accepting = actions.add_parser("accept", help="say that a view's changed SQL makes the same rows as before")
    accepting.add_argument("name", help="view version, such as aircraft_state or aircraft_state_v2")
    accepting.add_argument("--reason", required=True, help="how you know; kept on record")
    arguments = parser.parse_args()
    platform = platform_for(Settings())
    if arguments.action == "accept":
        changes = accept(platform, arguments.name, getpass.getuser(), arguments.reason)
        print(f"{arguments.name}: taken for the same ({changes})")
    else:
        print("\n".join(listing(platform, arguments.name)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
