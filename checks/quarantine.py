"""Which batches are held: told by their verdicts, so that there is no second state to keep true.

A batch (a version of a partition) is held from its first failed blocking check until it passes, a person overrides the
check, or a later version of the partition passes every check. Its rows stay readable as that version of the table.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from checks.guard import Guard, name_of
from checks.required import required_checks
from ml.lake import Lake
from ml.verdicts import Verdict


@dataclass(frozen=True)
class HeldBatch:
    """A version of a partition that failed, with the verdicts against it, and what has become of it."""

    table: str
    partition: str
    version: int
    verdicts: tuple[Verdict, ...]
    since: datetime
    state: str

    @property
    def held(self) -> bool:
        """Whether it still keeps readers out."""
        return self.state == HELD

    @property
    def reason(self) -> str:
        """What the checks found."""
        return "; ".join(f"{v.check}: {v.evidence.get('summary', 'no summary')}" for v in self.verdicts)

    @property
    def name(self) -> str:
        """Its table and partition as people read them."""
        return name_of(self.table, self.partition)


HELD = "held"


def batches(lake: Lake, guard: Guard) -> list[HeldBatch]:
    """Return every version of a table that failed a blocking check, newest first, held or released since.

    Models that were refused are not among them: they stay registered, and MLflow lists them.
    """
    tables = [t for t in guard.verdicts.tables() if not t.endswith("/model") and lake.exists(t)]
    found = (batch for table in tables for batch in _of_table(lake, guard, table))
    return sorted(found, key=lambda batch: (batch.held, batch.since, batch.version), reverse=True)


def _of_table(lake: Lake, guard: Guard, table: str) -> Iterator[HeldBatch]:
    wanted = _gated(table)
    failed: dict[tuple[str, int], list[tuple[Verdict, datetime]]] = {}
    for verdict, at in guard.verdicts.newest_verdicts(table):
        if verdict.check in wanted and not verdict.passed:
            failed.setdefault((verdict.partition, verdict.version), []).append((verdict, at))
    passed, written = guard.passed(table) if failed else None, _written(lake, table) if failed else {}
    for (partition, version), against in failed.items():
        assert passed is not None
        better = next((v for v in reversed(written.get(partition, [])) if v > version and passed(v, partition)), None)
        state = HELD if better is None else f"released by version {better}"
        if better is None and not guard.problems(table, {partition: version}):
            state = "overridden: " + "; ".join(map(str, guard.overridden(table, {partition: version})))
        newest = written.get(partition, [version])[0]
        if state == HELD and newest != version:
            state = f"replaced by version {newest}, which has not passed"
        verdicts = tuple(verdict for verdict, _ in against)
        yield HeldBatch(table, partition, version, verdicts, min(at for _, at in against), state)


def _gated(table: str) -> tuple[str, ...]:
    try:
        return required_checks(table)
    except LookupError:
        return ()


def _written(lake: Lake, table: str) -> dict[str, list[int]]:
    """Return the versions that wrote each partition, newest first."""
    found: dict[str, list[int]] = {}
    for commit in lake.history(table):
        for partition in commit["partitions"]:
            found.setdefault(partition, []).append(commit["version"])
    return found
