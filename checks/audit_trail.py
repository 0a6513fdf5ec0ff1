"""What the audit says of versions: which blocking checks passed, which did not and why they were let pass.

Reads the verdicts and overrides; whether a reader may go on is decided in `guard`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from checks.guard import Batch, Guard, name_of
from checks.required import required_checks
from ml.trace import Step
from ml.verdicts import Verdict, verdict_of


@dataclass(frozen=True)
class Judged:
    """One blocking check on one version of one partition; `verdict` is None if it never ended."""

    table: str
    partition: str
    version: int
    check: str
    verdict: Verdict | None
    at: datetime | None

    @property
    def word(self) -> str:
        """The outcome in one word."""
        return "no verdict" if self.verdict is None else "passed" if self.verdict.passed else "failed"


def audit_step(guard: Guard, batches: Sequence[Batch]) -> Step:
    """Return the checks on versions of partitions of one table: (table, partition, version) each.

    What did not pass stands in `gone`, with the override that let it pass if there was one.
    """
    verdicts = {table: guard.verdicts.rows(table) for table, _, _ in batches}
    judged = [found for batch in batches for found in _judged(verdicts[batch[0]], *batch)]
    told = {name: _words([found.word for found in judged if found.check == name]) for name in _names(judged)}
    last = max((found.at for found in judged if found.at), default=None)
    told |= {"judged": f"{last:%Y-%m-%d %H:%M} UTC, run {_runs(judged)}"} if last else {}
    rows = tuple(
        {
            "of": f"{name_of(j.table, j.partition)} version {j.version}",
            "check": j.check,
            "verdict": j.word,
            "at": j.at,
            "run": j.verdict.run_id if j.verdict else "",
            "found": j.verdict.evidence.get("summary", "") if j.verdict else "",
        }
        for j in judged
    )
    gone = tuple(_problem(guard, found) for found in judged if found.word != "passed")
    return Step("checks", "checks", told, rows, gone)


def _judged(rows: pl.DataFrame, table: str, partition: str, version: int) -> Iterable[Judged]:
    found = {row["check"]: row for row in rows.filter(version=version, partition=partition).iter_rows(named=True)}
    for check in required_checks(table):
        row = found.get(check)
        yield Judged(
            table,
            partition,
            version,
            check,
            None if row is None else verdict_of(row),
            None if row is None else row["at"],
        )


def _words(words: Sequence[str]) -> str:
    """Return `passed` for one or all, else each word with its count."""
    each = dict.fromkeys(words)
    return next(iter(each)) if len(each) == 1 else ", ".join(f"{words.count(word)} {word}" for word in each)


def _runs(judged: Iterable[Judged]) -> str:
    runs = list(dict.fromkeys(found.verdict.run_id[:8] for found in judged if found.verdict))
    return ", ".join(runs[:3]) + (f" and {len(runs) - 3} more" if len(runs) > 3 else "")


def _problem(guard: Guard, found: Judged) -> str:
    name = f"check {found.check!r} of {name_of(found.table, found.partition)} version {found.version}"
    if found.verdict is None:
        return f"{name} has no verdict"
    key = (found.table, found.partition, found.version, found.check)
    granted = [o for o in guard.overrides.log() if (o.table, o.partition, o.version, o.check) == key]
    why = f"{name} failed: {found.verdict.evidence.get('summary', 'see its evidence')}"
    return why + (f"; let pass: {granted[-1]}" if granted else "; nobody let it pass")


def _names(judged: Iterable[Judged]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found.check for found in judged))
