"""Landing a source in the lake, append-only: a correction is a new version of a row, never an edit.

Landing the same rows again writes nothing. A row whose values differ from the newest version of its
key, or whose key is new to a partition that landed before, is added with the instant at which it
became known here. A row that has vanished from the source stays, and is counted.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from ml.clock import Clock
from ml.fingerprint import content_hash
from ml.lake import PARTITION_KEY, WHOLE, Lake
from ml.source import Source

INSTANT = pl.Datetime("us", "UTC")
Good = Callable[[int, str], bool]


@dataclass(frozen=True)
class Landing:
    """What landing one partition did: rows in it now, rows added, rows gone from the source, table version."""

    partition: str
    rows: int
    added: int
    vanished: int
    version: int
    content: str


def land(
    source: Source,
    lake: Lake,
    clock: Clock,
    partitions: Sequence[str] | None = None,
    good: Good = lambda version, partition: True,
) -> Iterator[Landing]:
    """Land `partitions` of a source (None: the whole of an unpartitioned one), one transaction each.

    `good` tells whether a version of a partition passed its checks: new rows join the newest good
    version, so that a batch that failed leaves no trace in the next one (it stays in the history).

    Yields a Landing a partition. Raises LookupError if the source or a partition of it is not there
    and ValueError if its rows do not fit the declaration; a partition that fails is not written.
    """
    frame = _read(source, partitions)
    for partition in partitions or [WHOLE]:
        plan = _plan(source, lake, clock, partition, frame, good)
        version = plan.version
        if version is None:
            names = None if partition == WHOLE else [partition]
            metadata = {"rows": plan.rows.height, "content": plan.content}
            version = lake.replace(source.table, plan.rows, names, metadata)
        yield Landing(partition, plan.rows.height, plan.added, plan.vanished, version, plan.content)


def changed_partitions(
    source: Source,
    lake: Lake,
    clock: Clock,
    partitions: Sequence[str] | None = None,
    good: Good = lambda version, partition: True,
) -> list[str]:
    """Return those of `partitions` (None: the whole of an unpartitioned one) that landing would write."""
    frame = _read(source, partitions)
    plans = (_plan(source, lake, clock, partition, frame, good) for partition in partitions or [WHOLE])
    return [plan.partition for plan in plans if plan.version is None]


@dataclass(frozen=True)
class _Plan:
    """What a partition would hold after landing; `version` is the one that holds just that, if one does."""

    partition: str
    rows: pl.DataFrame
    added: int
    vanished: int
    content: str
    version: int | None


def _read(source: Source, partitions: Sequence[str] | None) -> pl.DataFrame:
    """Return the rows of `partitions` with both instants: a rule of a source may cost more than reading it."""
    frame = source.read()
    if source.partition is not None:
        frame = frame.with_columns(source.partition.alias(PARTITION_KEY))
        frame = frame.filter(pl.col(PARTITION_KEY).is_in(list(partitions or [])))
    known = source.known_at(frame).cast(INSTANT).alias("event_timestamp")
    created = known if source.created_column is None else frame[source.created_column].cast(INSTANT)
    times = [known, created.alias("created_timestamp")]
    return frame.select(*frame.columns[: len(source.schema)], *times, *frame.columns[len(source.schema) :])


def _plan(source: Source, lake: Lake, clock: Clock, partition: str, frame: pl.DataFrame, good: Good) -> _Plan:
    rows = frame if partition == WHOLE else frame.filter(pl.col(PARTITION_KEY) == partition)
    if rows.is_empty():
        raise LookupError(f"source {source.name!r} has no rows for {partition or 'the table'}; nothing landed")
    landed = [commit for commit in lake.history(source.table) if partition in commit["partitions"]]
    base = next((commit["version"] for commit in landed if good(commit["version"], partition)), None)
    names = None if partition == WHOLE else [partition]
    before = rows.clear() if base is None else lake.read(source.table, base, names).collect()
    after, added, vanished = _merged(source, before, rows, clock)
    content = content_hash(after)
    same = bool(landed) and landed[0]["metadata"].get("content") == content
    return _Plan(partition, after, added, vanished, content, landed[0]["version"] if same else None)


def _merged(source: Source, before: pl.DataFrame, rows: pl.DataFrame, clock: Clock) -> tuple[pl.DataFrame, int, int]:
    """Return the history with the new versions appended, how many were added and how many vanished."""
    key, order = list(source.key), [*source.key, "created_timestamp"]
    before = before.with_columns(pl.lit(None, t).alias(n) for n, t in rows.schema.items() if n not in before.columns)
    before = before.select(rows.columns)
    if before.is_empty():
        return rows.sort(order, maintain_order=True), rows.height, 0
    newest = before.sort("created_timestamp").unique(key, keep="last", maintain_order=True)
    vanished = newest.join(rows, on=key, how="anti", nulls_equal=True).height
    values = list(source.schema)
    changed = rows.join(newest, on=values, how="anti", nulls_equal=True)
    if source.created_column is None:
        changed = changed.with_columns(
            created_timestamp=pl.max_horizontal("event_timestamp", pl.lit(clock.now(), dtype=INSTANT))
        )
    # A correction does not move the instant at which the fact itself became known.
    first = before.group_by(key).agg(pl.col("event_timestamp").min().alias("first_known"))
    changed = (
        changed.join(first, on=key, how="left", nulls_equal=True)
        .with_columns(event_timestamp=pl.coalesce("first_known", "event_timestamp"))
        .select(before.columns)
    )
    return pl.concat([before, changed]).sort(order, maintain_order=True), changed.height, vanished
