"""The point-in-time join: what was known of each entity at each row's moment. No Feast, no files.

The knowledge time of a version of a row is max(event_timestamp, created_timestamp): before it, neither
the fact nor its correction was there to be read. Of the versions known at a moment the latest
event_timestamp wins, then the latest created_timestamp; of versions equal in both, the table's later row.

A history is read in pieces, newest events first: a row that one piece answers asks no older one, so memory
holds the entity rows, their answers and one piece. A piece beyond the budget is read by ranges of keys.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

from ml.entity_rows import RANK, EntityRows
from ml.history import CREATED, EVENT, INSTANT, Piece
from ml.known_versions import KnownVersions
from ml.order import order_by

Progress = Callable[[str], None]

_KNOWN = "__known_at"
_AT = "__at"
_WORK = 96  # bytes a version that a join needs besides the columns it reads
_WIDTHS: Mapping[type[pl.DataType], int] = {pl.String: 32, pl.Boolean: 1}  # bytes a value; 8 for all others


class Lookup(NamedTuple):
    """What is looked up in a feature history.

    Attributes:
        pieces: Its versions, newest events first, with keys + event_timestamp + created_timestamp + features.
        keys: Join key column of the entity rows -> join key column of the history.
        features: Column of the history -> name that it gets in the result.
        ttl: Values whose event is older than this at the moment are null; an age of exactly ttl counts.
            None or zero: no limit.
    """

    pieces: Sequence[Piece]
    keys: Mapping[str, str]
    features: Mapping[str, str]
    ttl: timedelta | None = None


class PointInTimeJoin:
    """Entity rows with moments, to which features are joined view by view."""

    def __init__(
        self,
        entities: pl.DataFrame,
        at: str,
        memory_budget: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Take the entity rows.

        Args:
            entities: [rows, any columns] with `at` and the join keys; null keys match nothing.
            at: Column with the moment of each row; without a time zone it means UTC.
            memory_budget: Bytes of feature history to hold at a time; None: no limit.
            progress: Called with a line of text after each piece.

        Raises:
            ValueError: `at` is missing, no instant, or null somewhere.
        """
        _refuse_missing("entity rows", entities.columns, [at])
        self._entities = entities
        self._instants = _utc(entities, at).get_column(at).rename(_AT)
        _refuse_null_instants("entity rows", at, self._instants.null_count())
        self._budget, self._progress = memory_budget, progress or (lambda _: None)
        self._sorted: dict[tuple[str, ...], EntityRows] = {}

    def look_up(self, what: Lookup) -> pl.DataFrame:
        """Return [rows, features]: the values as known at each row's moment, in the order of the rows.

        Raises:
            ValueError: a column is missing, doubled or of another type than its partner, or an instant is null.
        """
        schema = self._checked(what)
        rows = self._rows_for(what.keys)
        ttl = what.ttl // timedelta(microseconds=1) if what.ttl else None
        parts, origin = [], np.full(self._entities.height, -1, np.int64)
        offset, unanswered = 0, np.ones(rows.row.size, bool)
        for number, piece in enumerate(what.pieces, start=1):
            asked = np.flatnonzero(unanswered & _may_know(piece, rows.moment, ttl))
            for part, place, answered in self._answers(piece, what, rows, asked, ttl):
                parts.append(part)
                origin[rows.row[place]] = np.arange(offset, offset + part.height)
                offset += part.height
                unanswered[answered] = False
            self._progress(f"piece {number} of {len(what.pieces)}: {offset:,} of {rows.row.size:,} rows have a value")
            if not unanswered.any():
                break
        return _collected(parts, origin, {name: schema[column] for column, name in what.features.items()})

    def _answers(
        self, piece: Piece, what: Lookup, rows: EntityRows, asked: np.ndarray, ttl: int | None
    ) -> Iterator[tuple[pl.DataFrame, np.ndarray, np.ndarray]]:
        """Yield values, the places in `rows` that they belong to, and the places answered (a value or expired)."""
        if not asked.size:
            return
        keys, wanted = list(what.keys.values()), rows.keys.rename(dict(what.keys))
        for low, high in self._ranges(piece, what, rows):
            whole = (low, high) == (0, wanted.height)
            inside = asked if whole else asked[(rows.rank[asked] >= low) & (rows.rank[asked] < high)]
            frame = _read(piece, keys, what.features, wanted, None if whole else (low, high))
            versions = KnownVersions(frame, keys, wanted)
            found = versions.latest(rows.rank[inside], rows.moment[inside])
            answered = inside[found >= 0]
            found = found[found >= 0]
            fresh = slice(None) if ttl is None else rows.moment[answered] - versions.event[found] <= ttl
            place, found = answered[fresh], found[fresh]
            index = found if versions.rows is None else versions.rows[found]
            values = versions.frame.select(pl.col(c).gather(index).alias(name) for c, name in what.features.items())
            yield values, place, answered

    def _ranges(self, piece: Piece, what: Lookup, rows: EntityRows) -> Iterator[tuple[int, int]]:
        """Yield ranges of ranks whose versions in the piece fit the budget; one for all where they do."""
        total = rows.keys.height
        count = 1
        if self._budget is not None:
            schema = piece.frame.collect_schema()
            width = _WORK + sum(_WIDTHS.get(schema[c].base_type(), 8) for c in (*what.keys.values(), *what.features))
            versions = piece.rows if piece.rows is not None else piece.frame.select(pl.len()).collect().item()
            count = max(1, min(total, -(-versions * width // self._budget)))
        edges = [total * part // count for part in range(count + 1)]
        yield from pairwise(edges)

    def _rows_for(self, keys: Mapping[str, str]) -> EntityRows:
        """Return the entity rows sorted by these keys, once for all views that have them."""
        columns = tuple(keys)
        if columns not in self._sorted:
            self._sorted[columns] = EntityRows(
                self._entities.select(columns).with_columns(self._instants), columns, _AT
            )
        return self._sorted[columns]

    def _checked(self, what: Lookup) -> pl.Schema:
        """Return the schema of the history. Raises ValueError if it does not fit the entity rows."""
        schema = what.pieces[0].frame.collect_schema() if what.pieces else pl.Schema()
        _refuse_missing("entity rows", self._entities.columns, list(what.keys))
        _refuse_missing("feature history", schema.names(), [EVENT, CREATED, *what.keys.values(), *what.features])
        doubled = sorted(set(what.features.values()) & set(self._entities.columns))
        if doubled:
            raise ValueError(f"the entity rows already have columns {doubled}; rename them or use full feature names")
        for column, key in what.keys.items():
            if self._entities.schema[column] not in (schema[key], pl.Null):
                raise ValueError(
                    f"join key {column!r} is {self._entities.schema[column]} in the entity rows "
                    f"and {schema[key]} in the feature history; cast it"
                )
        return schema


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


def known_at() -> pl.Expr:
    """Return the instant at which a version of a row became known."""
    return pl.max_horizontal(EVENT, CREATED)


def with_knowledge_time(history: pl.DataFrame) -> pl.DataFrame:
    """Return `history` with its instants in UTC microseconds and the column `__known_at`."""
    frame = _utc(history, EVENT, CREATED)
    return frame.with_columns(known_at().alias(_KNOWN))


def in_order_of_knowledge(frame: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """Return `frame` in the order that a join reads fastest: (keys, knowledge time, event, created); null keys last."""
    ranks = frame.select(keys).drop_nulls().unique().sort(list(keys)).with_row_index(RANK)
    rank = frame.select(keys).join(ranks, on=list(keys), how="left", maintain_order="left")[RANK]
    code = rank.fill_null(ranks.height).cast(pl.Int64).to_numpy()
    event, created = (frame[column].to_physical().to_numpy() for column in (EVENT, CREATED))
    return frame[order_by(code, np.maximum(event, created), event, created)]


def _may_know(piece: Piece, moment: np.ndarray, ttl: int | None) -> np.ndarray:
    """Whether the piece can hold an event before each moment that has not expired by then. Shape: bool [rows]."""
    after = np.ones(moment.size, bool) if piece.first_us is None else moment >= piece.first_us
    return after if ttl is None or piece.last_us is None else after & (moment - ttl <= piece.last_us)


def _read(
    piece: Piece,
    keys: Sequence[str],
    features: Mapping[str, str],
    wanted: pl.DataFrame,
    ranks: tuple[int, int] | None,
) -> pl.DataFrame:
    """Return the needed columns of a piece, or only the versions whose first key is that of the given ranks."""
    frame = piece.frame.select(*dict.fromkeys([*keys, EVENT, CREATED, *features]))
    if ranks is not None:
        low, high = wanted[keys[0]][ranks[0]], wanted[keys[0]][ranks[1] - 1]
        frame = frame.filter(pl.col(keys[0]).is_between(pl.lit(low), pl.lit(high)))
    rows = frame.collect(engine="auto" if ranks is None else "streaming")
    for column in (EVENT, CREATED):
        _refuse_null_instants("feature history", column, rows[column].null_count())
    return _utc(rows, EVENT, CREATED)


def _collected(parts: list[pl.DataFrame], origin: np.ndarray, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Put the answers of all pieces in the order of the entity rows; an origin of -1 is null."""
    values = pl.concat(parts, rechunk=True) if parts else pl.DataFrame(schema=schema)
    index = pl.Series(origin, dtype=pl.Int64)
    return values.select(pl.all().gather(index.set(index < 0, None)))


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


def _refuse_missing(what: str, columns: Sequence[str], needed: Sequence[str]) -> None:
    missing = [column for column in needed if column not in columns]
    if missing:
        raise ValueError(f"the {what} have no column {missing}; columns are {list(columns)}")


def _refuse_null_instants(what: str, column: str, nulls: int) -> None:
    if nulls:
        raise ValueError(f"column {column!r} of the {what} has {nulls} nulls; every row needs its instant")
