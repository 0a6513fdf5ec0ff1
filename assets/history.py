"""The history check of a table, wired: which of its months count as its good past, and the profiles kept of them.

What it judges is in `checks/history.py`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from assets.gates import Batch, Gate
from checks.history import CHECK, FORMAT, Profile, Table, check_history, profile_of, while_learning
from checks.outcome import Outcome
from ml.profiles import Profiles

Metadata = Mapping[str, Any]


def history_gate(
    table: Table,
    *,
    restated: bool = False,
    may_be_empty: bool = False,
    made_alike: Callable[[Metadata], Any] = lambda commit: None,
    blocks_from: int = 0,
) -> Gate:
    """Return the gate that compares a partition with the good ones before it.

    `restated` says whether a partition that lands again is also compared with its own last good version: of raw tables,
    whose rows are only ever added to. `may_be_empty` leaves a month without rows to those who know how many there must
    be: dbt's tests of a feature table. Months whose commits `made_alike` tells apart are not compared: those of a table
    that is made otherwise now. Before so many good months (`blocks_from`) what only they tell is said, and passes.
    """
    return Gate(
        CHECK,
        "The month against the table's own good past: schema, volume, values of each column, and what ties columns "
        "together. Says which statistic of which column left its range, by how much, and which rows show it.",
        lambda batch: (
            _empty(batch)
            if may_be_empty and batch.rows.is_empty()
            else _judge(batch, table, restated, made_alike, blocks_from)
        ),
    )


def _empty(batch: Batch) -> Outcome:
    return Outcome(True, "no rows in this month; dbt's tests know how many there must be", {"rows": 0})


def _judge(
    batch: Batch, table: Table, restated: bool, made_alike: Callable[[Metadata], Any], blocks_from: int
) -> Outcome:
    past, own = _good_versions(batch, made_alike)
    previous = _rows(batch, own, batch.partition) if restated and own is not None else None
    profiles = Profiles(batch.platform.lake, batch.platform.clock, FORMAT)
    before = _profiles(batch, table, profiles, past)
    outcome, profile = check_history(table, batch.partition, batch.rows, before, previous)
    outcome = while_learning(outcome, before, blocks_from)
    if outcome.passed:
        profiles.record(batch.table, batch.version, batch.partition, profile.to_json())
    return outcome


def _good_versions(batch: Batch, made_alike: Callable[[Metadata], Any]) -> tuple[dict[str, int], int | None]:
    """Return the last good version of each earlier partition by its name, and of this one before this version."""
    passed, commits = batch.platform.guard.passed(batch.table), batch.platform.lake.history(batch.table)
    wanted = next(made_alike(c["metadata"]) for c in commits if c["version"] == batch.version)
    alike = [commit for commit in commits if made_alike(commit["metadata"]) == wanted]
    good = [(p, c["version"]) for c in alike for p in c["partitions"] if passed(c["version"], p)]  # newest first
    past = {partition: version for partition, version in reversed(good) if partition < batch.partition}
    own = (version for partition, version in good if partition == batch.partition and version < batch.version)
    return dict(sorted(past.items())), next(own, None)


def _profiles(batch: Batch, table: Table, profiles: Profiles, past: Mapping[str, int]) -> list[Profile]:
    """Return the profiles of good partitions, oldest first; one that was never kept is made from its rows, and kept."""
    kept = {name: Profile.from_json(text) for name, text in profiles.of(batch.table, past).items()}
    for partition in past.keys() - kept.keys():
        kept[partition] = profile_of(table, partition, _rows(batch, past[partition], partition))
        profiles.record(batch.table, past[partition], partition, kept[partition].to_json())
    return [kept[partition] for partition in past]


def _rows(batch: Batch, version: int, partition: str) -> Any:
    names = [partition] if partition else None
    return batch.platform.lake.read(batch.table, version, names).collect()
