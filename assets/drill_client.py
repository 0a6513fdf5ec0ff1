"""A client of a drill that asks all the time, and counts who answered and what failed.

It moves the scratch copy's clock on as time passes: batches of one instant would count as one.
"""

import time
from collections import Counter
from datetime import timedelta
from threading import Event, Thread
from types import TracebackType
from typing import Self

import polars as pl

from ml.clock import ReplayClock, open_clock
from ml.settings import Settings
from serving.client import HeadwaterClient

BATCH = 20  # rows of a request
PAUSE = 0.01  # seconds between requests


class Asking:
    """A thread that asks the rows over and over: answers by version, when each version answered last, and failures."""

    def __init__(self, settings: Settings, model: str, rows: pl.DataFrame) -> None:
        """Take the served copy and rows [N] that have the model's fields."""
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._last: dict[str, float] = {}
        self._settings, self._model, self._rows = settings, model, rows
        self._stop, self._thread = Event(), Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End asking, after the request that is under way."""
        self._stop.set()
        self._thread.join()

    def count(self, version: str) -> int:
        """Return how many rows a version answered."""
        return self.answers[version]

    def total(self) -> int:
        """Return how many rows were answered."""
        return sum(self.answers.copy().values())

    def last(self, version: str) -> float:
        """Return when a version's last answer came, on the monotonic clock; 0.0 if it never answered."""
        return self._last.get(version, 0.0)

    def _ask(self) -> None:
        clock, begun = ReplayClock(self._settings.clock_file), time.monotonic()
        base = open_clock(self._settings.clock_file).now()
        client = HeadwaterClient.of(self._settings, timeout=10)
        try:
            rows = self._rows.select(list(client.fields(self._model))).to_dicts()
            place = 0
            while not self._stop.wait(PAUSE):
                clock.set(base + timedelta(seconds=time.monotonic() - begun))
                batch = [rows[(place + n) % len(rows)] for n in range(BATCH)]
                place += BATCH
                self._request(client, batch)
        except Exception as error:  # nobody else would hear of it
            self.failures.append(f"the client stopped: {error}")
        finally:
            client.close()

    def _request(self, client: HeadwaterClient, batch: list[dict[str, object]]) -> None:
        try:
            answers = client.predict(self._model, batch)
        except Exception as error:  # each is a failed request, which is what is counted
            self.failures.append(str(error))
            return
        for answer in answers:
            self.answers[answer.model_version] += 1
            self._last[answer.model_version] = time.monotonic()
