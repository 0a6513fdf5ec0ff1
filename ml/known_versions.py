"""One piece of a feature history, searched by entity and moment. The heart of the point-in-time join.

Versions stand in the order (join keys, knowledge time, event_timestamp, created_timestamp), where knowledge
time is max(event, created). In that order the last version of an entity with knowledge time <= t became known
last; what is *valid* at t is the newest event among those up to it. A version that came late, after a newer
event of its entity was known, never becomes valid; one with an equal event is a correction and does.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from ml.entity_rows import RANK
from ml.history import CREATED, EVENT
from ml.order import order_by

_BITS = 62  # of an int64, for entity and time together; times count from 1970, so one bit is spare
_SAMPLE = 4096  # rows that tell quickly that a piece is not sorted


class KnownVersions:
    """The versions of one piece, ready to be searched.

    Attributes:
        frame: [versions, any]: the piece, in the order given.
        event: int64 [versions searched]: event time in microseconds, in the order of the search.
        rows: int64 [versions searched] or None: where each stands in `frame`; None where it stands alike.
    """

    def __init__(self, frame: pl.DataFrame, keys: Sequence[str], wanted: pl.DataFrame) -> None:
        """Prepare a piece.

        Args:
            frame: [versions, keys + both instants (microseconds, UTC) + anything], in any order. One that is
                sorted by (keys, knowledge time, event, created) already, as published tables are, costs much less.
            keys: Its join key columns.
            wanted: [entities, keys + `__rank`]: whose versions are looked for (`EntityRows.keys`).
        """
        self.frame = frame.drop_nulls(list(keys))
        self.event, created = (self.frame[column].to_physical().to_numpy() for column in (EVENT, CREATED))
        self._known = np.maximum(self.event, created)
        self.rows: np.ndarray | None = None
        if not self._as_it_stands(created, keys, wanted):
            self._sorted(created, keys, wanted)

    def latest(self, rank: np.ndarray, moment: np.ndarray) -> np.ndarray:
        """Return for each (rank, moment), given in ascending order, the position of the valid version, -1 if none.

        Positions are those of `event`. Shapes: int64 [rows] each.
        """
        found = np.full(rank.size, -1, np.int64)
        if not rank.size or not self._known.size:
            return found
        code = self._code_of[rank]
        present = slice(None) if code.min() >= 0 else np.flatnonzero(code >= 0)
        code, moment = code[present], moment[present]
        if not code.size:
            return found
        last = np.full(code.size, -1, np.int64)
        for asked, own, base, bits in self._slices(code, moment):
            versions = (self._code[own] - base) << bits
            versions += self._known[own]
            rows = (code[asked] - base) << bits
            rows += moment[asked]
            last[asked] = np.searchsorted(versions, rows, side="right") + (own.start - 1)
        known = np.flatnonzero((last >= 0) & (self._code[last] == code))
        valid = self._valid(last[known])
        last[:] = -1
        last[known] = valid
        found[present] = last
        return found

    def _valid(self, last: np.ndarray) -> np.ndarray:
        """Return the newest event of its entity up to each position.

        Only a version that came late can be older than one before it, and no event before a version that came
        in time is newer than that one: walk back to it from those that came late.
        """
        best, late = last.copy(), np.flatnonzero(self._known[last] > self.event[last])
        here = last[late]
        while late.size:
            here -= 1
            same = np.flatnonzero((here >= 0) & (self._code[here] == self._code[last[late]]))
            late, here = late[same], here[same]
            newer = self.event[here] > self.event[best[late]]
            best[late[newer]] = here[newer]
            more = self._known[here] > self.event[here]
            late, here = late[more], here[more]
        return best

    def _slices(self, code: np.ndarray, moment: np.ndarray) -> Iterator[tuple[slice, slice, int, int]]:
        """Yield slices of asked rows and own versions whose codes, from a base on, fit above the bits of the time.

        Times stand unshifted in the sum: they are far from the sign bit, and only differences count.
        """
        first = min(int(self._known.min()), int(moment.min()))
        bits = (max(int(self._known.max()), int(moment.max())) - first).bit_length()
        most = 1 << max(_BITS - bits, 1)
        if int(self._code[-1]) < most:
            yield slice(None), slice(0, self._code.size), 0, bits
            return
        for base in range(int(code[0]), int(code[-1]) + 1, most):
            asked, own = (slice(*np.searchsorted(codes, (base, base + most))) for codes in (code, self._code))
            if asked.start < asked.stop:
                yield asked, own, base, bits

    def _as_it_stands(self, created: np.ndarray, keys: Sequence[str], wanted: pl.DataFrame) -> bool:
        """Use the order that the piece has, and return whether it is the one that the search needs."""
        if not self.frame[:_SAMPLE].select(pl.struct(keys).is_sorted()).item():
            return False
        changes = pl.any_horizontal(pl.col(key).ne_missing(pl.col(key).shift()) for key in keys)
        new = self.frame.select(changes).to_series()
        runs = self.frame.select(keys).filter(new).join(wanted, on=list(keys), how="left", maintain_order="left")
        rank = runs[RANK].fill_null(-1).cast(pl.Int64).to_numpy()
        present = np.flatnonzero(rank >= 0)
        starts = new.to_numpy()
        if np.any(np.diff(rank[present]) <= 0) or not self._in_order(starts, created):
            return False
        self._code = np.cumsum(starts, dtype=np.int64)
        self._code -= 1
        self._code_of = np.full(wanted.height, -1, np.int64)
        self._code_of[rank[present]] = present
        return True

    def _in_order(self, starts: np.ndarray, created: np.ndarray) -> bool:
        """Whether each run of equal keys is sorted by (knowledge time, event, created)."""
        step = np.diff(self._known)
        if np.any((step < 0) & ~starts[1:]):
            return False
        tied = np.flatnonzero((step == 0) & ~starts[1:])
        before, after = self.event[tied], self.event[tied + 1]
        return not np.any((before > after) | ((before == after) & (created[tied] > created[tied + 1])))

    def _sorted(self, created: np.ndarray, keys: Sequence[str], wanted: pl.DataFrame) -> None:
        """Sort the versions of wanted entities."""
        rank = self.frame.select(keys).join(wanted, on=list(keys), how="left", maintain_order="left")[RANK]
        ranked = rank.is_not_null().arg_true()
        code = rank.gather(ranked).cast(pl.Int64).to_numpy()
        rows = ranked.cast(pl.Int64).to_numpy()
        order = order_by(code, self._known[rows], self.event[rows], created[rows])
        self.rows, self._code = rows[order], code[order]
        self._known, self.event = self._known[self.rows], self.event[self.rows]
        self._code_of = np.arange(wanted.height)
