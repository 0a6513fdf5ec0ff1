"""Entity rows in the order in which a point-in-time join wants them: by join keys, then by moment. No feature data."""

from collections.abc import Sequence

import polars as pl

from ml.order import order_by

RANK = "__rank"


class EntityRows:
    """The rows of one join, sorted once for all views that share their keys.

    Attributes:
        keys: [distinct keys, key columns + `__rank`] in ascending order; `__rank` counts from 0.
        rank: int64 [rows]: the rank of each row's keys, ascending.
        moment: int64 [rows]: each row's moment in microseconds since the epoch (UTC), ascending within a rank.
        row: int64 [rows]: where the row stands among those given. Rows with a null key are left out.
    """

    def __init__(self, rows: pl.DataFrame, keys: Sequence[str], moment: str) -> None:
        """Sort `rows` [any, keys + moment (Datetime, microseconds, UTC)]; a null moment is not allowed."""
        distinct = rows[keys[0]].unique().to_frame() if len(keys) == 1 else rows.select(keys).unique()
        self.keys = distinct.drop_nulls().sort(list(keys)).with_row_index(RANK)
        ranked = rows.select(keys).join(self.keys, on=list(keys), how="left", maintain_order="left")[RANK]
        present = ranked.is_not_null().arg_true()
        rank = ranked.gather(present).cast(pl.Int64).to_numpy()
        moments = rows[moment].to_physical().gather(present).to_numpy()
        order = order_by(rank, moments)
        self.rank, self.moment = rank[order], moments[order]
        self.row = present.cast(pl.Int64).to_numpy()[order]
