"""What the views said of one batch, each set of views read once, and only where a version that needs it has a row.

Reading is in `reader`, scoring in `scored`. Runs in the serving environment.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from serving.feeds import RequestColumns
from serving.lineup import Lineup
from serving.reader import Need, Read
from serving.scorer import Scorer

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Reads:
    """The reads of one batch at the instant `now`. One thread at a time.

    Those `aside` are for who answers nobody: they share no lock and no breaker with those that callers wait for.
    """

    def __init__(self, lineup: Lineup, request: RequestColumns, now: datetime, aside: bool = False) -> None:
        self.time_us = (now - _EPOCH) // _MICROSECOND
        self._lineup, self._request, self._now, self._aside = lineup, request, now, aside
        self._found: dict[Need, Read | Exception] = {}

    def read(self, scorers: Iterable[Scorer]) -> None:
        """Read what these versions need, one need after the other; what is wrong with one is told by `of`."""
        for scorer in scorers:
            if scorer.need not in self._found:
                self._found[scorer.need] = self._read(scorer)

    def of(self, scorer: Scorer) -> Read:
        """Return what was read for a version, now if it was not. Raises what reading raised."""
        self.read([scorer])
        found = self._found[scorer.need]
        if isinstance(found, Exception):
            raise found
        return found

    def has(self, scorer: Scorer) -> bool:
        """Whether what the version needs was read."""
        return isinstance(self._found.get(scorer.need), Read)

    def kept(self, scorer: Scorer) -> Read:
        """Return what the log keeps for a version: what was read, or that it was not."""
        found = self._found.get(scorer.need)
        return found if isinstance(found, Read) else self._lineup.reader(scorer, self._aside).unread(self._request.rows)

    def _read(self, scorer: Scorer) -> Read | Exception:
        reader = self._lineup.reader(scorer, self._aside)
        try:
            return reader.read(self._request, self._now, self._lineup.plan.deadline_ms)
        except Exception as error:  # a row that does not fit: whoever needs it fails, and nobody else
            return error
