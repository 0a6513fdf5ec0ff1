"""`python -m assets.override`: let a failed check pass for a while, on record: who, why, until when; list, or end it.

Nothing is judged here. The guard reads what is granted; the asset shows it as a warning.
"""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.instance.utils import RUNLESS_JOB_NAME

from assets.command import REFUSALS, in_one_line
from assets.instance import open_instance
from assets.mirror import Judgement, evaluation
from assets.quarantine import refresh
from assets.resources import Platform, platform_for
from checks.guard import Problem, name_of
from checks.outcome import Outcome
from ml.lake import WHOLE
from ml.overrides import Override
from ml.settings import Settings

DEFAULT_HOURS = 24.0


def grant(
    platform: Platform,
    instance: dg.DagsterInstance,
    table: str,
    partition: str,
    *,
    who: str,
    why: str,
    until: datetime,
    checks: Sequence[str] = (),
) -> list[Override]:
    """Let the failed blocking checks (or only `checks`) on a partition's newest version pass until an instant.

    Returns what was granted. Raises LookupError if there is no such partition, no failed check on it, or a check that
    never ended (run it: there is nothing to override), and PermissionError or ValueError as `ml.overrides` says.
    """
    versions = _versions(platform, table, partition)
    if not versions:
        raise LookupError(f"{name_of(table, partition)} has not been materialized; there is nothing to override")
    problems = [p for p in platform.guard.problems(table, versions) if p.table == table]
    wanted = [p for p in problems if not checks or p.check in checks]
    if not wanted:
        raise LookupError(
            f"no failed check {', '.join(checks)} on {name_of(table, partition)} version {versions[partition]}; "
            f"failed are {[p.check for p in problems] or 'none'}"
        )
    for problem in wanted:
        if problem.verdict is None:
            raise LookupError(f"check {problem.check!r} never ended on {name_of(table, partition)}; run it first")
    granted = [Override(table, p.version, p.check, who, why, until, partition) for p in wanted]
    platform.overrides.grant(granted)
    for problem, override in zip(wanted, granted, strict=True):
        _show(platform, instance, problem, override)
    refresh(instance, platform, failed=True)
    return granted


def end(platform: Platform, instance: dg.DagsterInstance, table: str, partition: str) -> list[Override]:
    """End the overrides on a partition's newest version now, show its checks as failed again, and return what ended."""
    versions = _versions(platform, table, partition)
    ended = [o for version in versions.values() for o in platform.overrides.end(table, version, partition)]
    for problem in platform.guard.problems(table, versions) if ended else ():
        if (problem.table, problem.check) in {(o.table, o.check) for o in ended}:
            _show(platform, instance, problem, None)
    refresh(instance, platform, failed=True)
    return ended


def _versions(platform: Platform, table: str, partition: str) -> dict[str, int]:
    """Return the newest version of a partition, or of a registered model; empty if there is none."""
    name, _, stage = table.partition("/")
    if stage == "model" and partition == WHOLE:
        versions = platform.registry.versions(name)
        return {WHOLE: int(versions[0].version)} if versions else {}
    return platform.lake.partition_versions(table, [partition]) if platform.lake.exists(table) else {}


def _show(platform: Platform, instance: dg.DagsterInstance, problem: Problem, override: Override | None) -> None:
    """Put the override on the asset in the UI at once: the check as a warning that names it, or failed without one."""
    outcome = Outcome(False, problem.reason)
    judgement = Judgement(problem.table, problem.version, problem.check, outcome, problem.partition)
    shown = evaluation(platform, dg.AssetKey(problem.table.split("/")), judgement, override)
    # Not report_runless_asset_event: Dagster takes only one of these a check and partition, ever.
    event = DagsterEvent(DagsterEventType.ASSET_CHECK_EVALUATION.value, RUNLESS_JOB_NAME, event_specific_data=shown)
    instance.report_dagster_event(event, run_id=str(uuid4()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m assets.override",
        description="Let a failed check pass for a while, on record. Without --why, list the overrides.",
    )
    parser.add_argument("table", nargs="?", help="such as raw/flights or features/aircraft_state")
    parser.add_argument("--partition", default=WHOLE, help="the month, such as 2013-03")
    parser.add_argument(
        "--check", action="append", default=[], help="only this one; may be repeated; default: all that failed"
    )
    parser.add_argument("--why", help="the reason, kept in the audit table")
    parser.add_argument("--who", default=getpass.getuser(), help="who grants it (default: you)")
    parser.add_argument("--hours", type=float, default=DEFAULT_HOURS, help="how long, from now by the platform's clock")
    parser.add_argument(
        "--until", type=datetime.fromisoformat, help="instead of --hours, such as 2013-10-26T12:00+00:00"
    )
    parser.add_argument("--end", action="store_true", help="end the overrides on the partition's newest version now")
    return parser


@in_one_line(*REFUSALS)
def main() -> int:
    """Grant, end or list overrides. Returns 1 after one line on failure."""
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.check and arguments.why is None and not arguments.end:
        parser.error("--check grants an override, and that needs a reason: add --why")
    platform = platform_for(settings := Settings())
    os.environ.setdefault("DAGSTER_HOME", str(settings.dagster_home.absolute()))
    with open_instance(settings) as instance:
        _act(platform, instance, arguments)
    return 0


def _act(platform: Platform, instance: dg.DagsterInstance, arguments: argparse.Namespace) -> None:
    table, partition, now = arguments.table, arguments.partition, platform.clock.now()
    if table and arguments.end:
        ended = end(platform, instance, table, partition)
        print("\n".join(f"ended: {o}" for o in ended) or f"no override on {name_of(table, partition)} is in force")
    elif table and arguments.why is not None:
        until = arguments.until or now + timedelta(hours=arguments.hours)
        until = until.astimezone(UTC) if until.tzinfo else until.replace(tzinfo=UTC)
        granted = grant(
            platform,
            instance,
            table,
            partition,
            who=arguments.who,
            why=arguments.why,
            until=until,
            checks=arguments.check,
        )
        print("\n".join(f"{name_of(o.table, o.partition)} version {o.version}: {o}" for o in granted))
    else:
        log = [o for o in platform.overrides.log() if table in (None, o.table)]
        newest = {(o.table, o.version, o.partition, o.check): o.until for o in log}
        lines = [
            f"{name_of(o.table, o.partition)} version {o.version}: {o}"
            + ("" if now < newest[o.table, o.version, o.partition, o.check] else " (ended)")
            for o in log
        ]
        print("\n".join(lines) or "No override was ever granted.")


if __name__ == "__main__":
    sys.exit(main())
