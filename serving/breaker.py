"""A circuit breaker towards the online store: after failures in a row nobody waits for it for a while.

Runs in the serving environment. What is answered meanwhile is `router`'s business.
"""

import time

FAILURES = 5  # in a row
REST_SECONDS = 1.0


class Breaker:
    """Closed: all may ask. After `failures` in a row open: nobody asks for `rest` seconds, then one tries."""

    def __init__(self, failures: int = FAILURES, rest: float = REST_SECONDS) -> None:
        self._failures, self._rest = failures, rest
        self._failed, self._until = 0, 0.0

    @property
    def open(self) -> bool:
        """Whether nobody may ask now."""
        return self._failed >= self._failures and time.monotonic() < self._until

    def record(self, ok: bool) -> None:
        """Tell how asking went: one success closes, a failure counts, and one more after a rest opens again."""
        self._failed = 0 if ok else self._failed + 1
        self._until = time.monotonic() + self._rest
