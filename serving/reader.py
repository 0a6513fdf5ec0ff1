"""Reads the views that a version needs, for a whole batch: by a deadline of their own, behind a breaker of their own.

So a view that is slow, damaged or away costs only the versions that read it. The store's rows are read in
`online_features`; which version reads what, and when, is in `lineup` and `reads`. Runs in the serving environment.
"""

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np

from ml.online_rows import OnlineStoreError
from serving.breaker import Breaker
from serving.feeds import RequestColumns, key_columns
from serving.online_features import NOT_READ, OnlineFeatures, ViewArrays
from serving.plan import Plan, View

Need = tuple[str, ...]  # names of views, in the plan's order


class Read(NamedTuple):
    """What the views of a need said of N rows; `event_us` and `status` [views, N] are as in the prediction log."""

    need: Need
    arrays: Mapping[str, ViewArrays]
    event_us: np.ndarray
    status: np.ndarray

    @property
    def unread(self) -> bool:
        """Whether no features were read at all."""
        return self.status.size > 0 and bool((self.status == NOT_READ).all())


class Reader:
    """The views of one need in a plan's store."""

    def __init__(self, plan: Plan, views: Sequence[View]) -> None:
        """Open the store. Raises OnlineStoreError if it is down."""
        self.need: Need = tuple(view.name for view in views)
        self._views, self._model = tuple(views), plan.model
        self._features = OnlineFeatures(plan.online_store, self._views, plan.feature_cache_ms / 1000)
        self._breaker, self._trouble = Breaker(), ""
        self._lock = threading.Lock()  # only those wait here that need these views themselves
        if self._views:
            self._features.require()

    def read(self, request: RequestColumns, now: datetime, deadline_ms: int) -> Read:
        """Read the features of all rows, or go without them while the store is down, and say so once.

        Raises ValueError if a row in the store does not fit its view.
        """
        with self._lock:
            if not self._views or self._breaker.open:
                return self.unread(request.rows)
            return self._read(request, now, deadline_ms)

    def unread(self, rows: int) -> Read:
        """Return what stands for a read that did not happen."""
        return self._as_read(self._features.unread_arrays(rows), rows)

    def close(self) -> None:
        """Close this thread's connection to the store."""
        self._features.close()

    def _read(self, request: RequestColumns, now: datetime, deadline_ms: int) -> Read:
        trouble = ""
        try:
            keys = key_columns(self._views, request)
            arrays = self._features.arrays(keys, now, time.perf_counter() + deadline_ms / 1000)
            if arrays[self.need[0]].status[0] == NOT_READ:
                trouble = f"it did not answer within {deadline_ms} ms"
        except OnlineStoreError as error:
            arrays, trouble = self._features.unread_arrays(request.rows), str(error)
        self._breaker.record(not trouble)
        self._tell(trouble)
        return self._as_read(arrays, request.rows)

    def _tell(self, trouble: str) -> None:
        if bool(trouble) != bool(self._trouble):
            text = f"answers go without features: {trouble}" if trouble else "the online store is read again"
            views = ", ".join(self.need)
            print(f"model {self._model!r}, views {views}: {text}", file=sys.stderr, flush=True)
        self._trouble = trouble

    def _as_read(self, arrays: Mapping[str, ViewArrays], rows: int) -> Read:
        event_us = _stacked([arrays[view].event_us for view in self.need], rows, np.int64)
        return Read(self.need, arrays, event_us, _stacked([arrays[view].status for view in self.need], rows, np.uint8))


def _stacked(columns: Sequence[Sequence[int] | np.ndarray], rows: int, dtype: type[np.generic]) -> np.ndarray:
    return np.array(columns, dtype=dtype).reshape(len(columns), rows)
