"""Sorting rows by several integers, fast. No frames, no meaning."""

import numpy as np
import polars as pl

_BITS = 62  # of an int64 that holds two columns


def order_by(first: np.ndarray, second: np.ndarray, *ties: np.ndarray) -> np.ndarray:
    """Return the stable order by int64 columns [rows] (`first` not negative): as np.lexsort, several times faster.

    The first two are sorted as one integer where they fit; the others, then the row, decide among equals only.
    """
    if not first.size:
        return np.arange(0)
    low = int(second.min())
    bits = (int(second.max()) - low).bit_length()
    if int(first.max()).bit_length() + bits > _BITS:
        return np.lexsort((*ties[::-1], second, first))
    both = first << bits
    both += second - low
    order = pl.Series(both).arg_sort().cast(pl.Int64).to_numpy()
    both = both[order]
    equal = both[1:] == both[:-1]
    if equal.any():
        order = order.copy()
        tied = np.flatnonzero(np.append(equal, False) | np.append(False, equal))
        among = order[tied]
        order[tied] = among[np.lexsort((among, *(column[among] for column in ties[::-1]), both[tied]))]
    return order
