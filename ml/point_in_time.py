"""The point-in-time join, on frames: what was known of each entity at each row's moment. No Feast, no files.

The knowledge time of a version of a row is max(event_timestamp, created_timestamp): before it, neither
the fact nor its correction was there to be read. Of the versions known at a moment the latest
event_timestamp wins, then the latest created_timestamp; of versions equal in both, the table's later row.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

EVENT = "event_timestamp"
CREATED = "created_timestamp"
INSTANT = pl.Datetime("us", "UTC")

_KNOWN = "__known_at"
_ORDER = "__order"
_ROW = "__row"


def point_in_time_join(
    entities: pl.DataFrame,
    history: pl.DataFrame,
    *,
    at: str,
    keys: Mapping[str, str],
    features: Mapping[str, str],
    ttl: timedelta | None,
) -> pl.DataFrame:
    """Append to each entity row the feature values as known at its moment.

    Args:
        entities: [rows, any columns] with `at` (naive means UTC) and the join keys; null keys match nothing.
        history: [versions, keys + event_timestamp + created_timestamp + features], in any order.
        at: Column of `entities` with the moment of each row.
        keys: Join key column in `entities` -> join key column in `history`.
        features: Column in `history` -> name that it gets in the result.
        ttl: Values whose event is older than this at the moment are null; an age of exactly ttl counts.
            None or zero: no limit.

    Returns:
        [rows, columns of `entities` + features]: each entity row once, in order; null where nothing is known.

    Raises:
        ValueError: a column is missing, doubled or of another type than its partner, or an instant is null.
    """
    _refuse_bad_input(entities, history, at, keys, features)
    by = {k: f"__key_{k}" for k in keys.values()}
    left = entities.select(
        pl.col(at).alias(_KNOWN), *[pl.col(c).cast(history.schema[k]).alias(by[k]) for c, k in keys.items()]
    )
    left = _utc(left, _KNOWN).with_row_index(_ROW).sort(_KNOWN)
    right = running_winners(history.drop_nulls(list(by)), list(by))
    right = right.select(_KNOWN, EVENT, *[pl.col(k).alias(name) for k, name in by.items()], *features)
    joined = left.join_asof(right, on=_KNOWN, by=list(by.values()), strategy="backward", check_sortedness=False).sort(
        _ROW
    )
    values = [pl.col(column).alias(name) for column, name in features.items()]
    if ttl:
        fresh = pl.col(_KNOWN) - pl.col(EVENT) <= ttl
        values = [pl.when(fresh).then(value).alias(value.meta.output_name()) for value in values]
    return entities.hstack(joined.select(values))


def running_winners(history: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Return the versions that were their entity's winner when they became known, in order of knowledge time.

    The result has the columns of `history` and `__known_at`: the last row of an entity with
    `__known_at` <= t is what was known of it at t.
    """
    ordered = with_knowledge_time(history).sort([EVENT, CREATED], maintain_order=True).with_row_index(_ORDER)
    ordered = ordered.sort(_KNOWN, maintain_order=True)
    return ordered.filter(pl.col(_ORDER) == pl.col(_ORDER).cum_max().over(list(keys))).drop(_ORDER)


def state_as_of(history: pl.DataFrame, keys: Sequence[str], as_of: datetime) -> pl.DataFrame:
    """Return the winning version of each entity among those known at `as_of`; null keys are left out.

    Columns are those of `history`. Rows are in the order of (event_timestamp, created_timestamp).
    """
    known = with_knowledge_time(history).filter(pl.col(_KNOWN) <= _instant(as_of)).drop_nulls(list(keys))
    known = known.sort([EVENT, CREATED], maintain_order=True)
    return known.unique(list(keys), keep="last", maintain_order=True).drop(_KNOWN)


def became_known(history: pl.DataFrame, after: datetime, until: datetime) -> pl.DataFrame:
    """Return the versions that became known in (after, until], in the order in which they did."""
    rows = with_knowledge_time(history)
    rows = rows.filter((pl.col(_KNOWN) > _instant(after)) & (pl.col(_KNOWN) <= _instant(until)))
    return rows.sort([_KNOWN, EVENT, CREATED], maintain_order=True).drop(_KNOWN)


def with_knowledge_time(history: pl.DataFrame) -> pl.DataFrame:
    """Return `history` with its instants in UTC microseconds and the column `__known_at`."""
    frame = _utc(history, EVENT, CREATED)
    return frame.with_columns(pl.max_horizontal(EVENT, CREATED).alias(_KNOWN))


def _instant(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone; give an instant such as 2013-10-01T00:00:00+00:00")
    return moment.astimezone(UTC)


def _utc(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    casts = []
    for column in columns:
        dtype = frame.schema[column]
        if not isinstance(dtype, pl.Datetime):
            raise ValueError(f"column {column!r} is {dtype}, not an instant; cast it to Datetime('us', 'UTC')")
        naive = dtype.time_zone is None
        casts.append((pl.col(column).dt.replace_time_zone("UTC") if naive else pl.col(column)).cast(INSTANT))
    return frame.with_columns(casts)


def _refuse_bad_input(
    entities: pl.DataFrame,
    history: pl.DataFrame,
    at: str,
    keys: Mapping[str, str],
    features: Mapping[str, str],
) -> None:
    for what, frame, columns in (
        ("entity rows", entities, [at, *keys]),
        ("feature history", history, [EVENT, CREATED, *keys.values(), *features]),
    ):
        missing = [c for c in columns if c not in frame.columns]
        if missing:
            raise ValueError(f"the {what} have no column {missing}; columns are {frame.columns}")
    for frame, column in ((entities, at), (history, EVENT), (history, CREATED)):
        if frame[column].null_count():
            raise ValueError(f"column {column!r} has {frame[column].null_count()} nulls; every row needs its instant")
    doubled = sorted(set(features.values()) & set(entities.columns))
    if doubled:
        raise ValueError(f"the entity rows already have columns {doubled}; rename them or use full feature names")
    for column, key in keys.items():
        if entities.schema[column] not in (history.schema[key], pl.Null):
            raise ValueError(
                f"join key {column!r} is {entities.schema[column]} in the entity rows "
                f"and {history.schema[key]} in the feature history; cast it"
            )
