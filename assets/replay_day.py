"""A day as it happened: events become known, requests are sent at their prediction times, the served model answers.

Requests of one moment go together. One that is in the prediction log already is not sent again: so a day that was
interrupted is gone on with.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from assets.replay import published_views
from assets.replay_home import ReplayHome
from ml.event_tape import EventTape
from ml.online_publish import rebuild
from ml.online_rows import open_online_rows
from ml.spec import ModelSpec
from serving.client import HeadwaterClient
from serving.log_reader import log_schema, read_new
from serving.model_repository import ModelRepository

DAY = timedelta(days=1)
TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True)
class Played:
    """What a day had: requests sent, events pushed."""

    requests: int
    events: int


class Days:
    """Days of a published interval [start, end), in order; the online store is rebuilt as of the first one played.

    `share` of the requests are sent, the same ones each time, drawn by their row id. Of the first day played those are
    left out that the prediction log has.
    """

    def __init__(self, home: ReplayHome, spec: ModelSpec, start: datetime, end: datetime, share: float = 1.0) -> None:
        """Read the interval's outcomes and events."""
        self._home, self._spec = home, spec
        platform, outcome = home.platform, spec.outcome
        self._online = open_online_rows(platform.settings.online_store)
        rebuild(published_views(platform), platform.publications, self._online, start)
        self._tape = EventTape(published_views(platform), platform.publications, start, end)
        asked = pl.col(outcome.prediction_time)
        rows = platform.publications.read(outcome.table).filter((asked >= start) & (asked < end)).collect()
        drawn = pl.col(outcome.row_id).hash(seed=1) % 10_000 < round(share * 10_000)
        self._rows = rows.filter(drawn).sort(outcome.prediction_time, outcome.row_id)
        self._first = True

    def play(self, day: datetime) -> Played:
        """Send the day's requests; the clock ends at the day's end. Raises what the client raises."""
        spec, clock = self._spec, self._home.clock
        asked = pl.col(spec.outcome.prediction_time)
        rows = self._rows.filter((asked >= day) & (asked < day + DAY))
        client = HeadwaterClient.of(self._home.platform.settings, TIMEOUT_SECONDS)
        requests = events = 0
        try:
            fields = list(client.fields(spec.name))
            done = self._asked_before(fields, day) if self._first else set[Any]()
            self._first = False
            for (moment,), own in rows.group_by(spec.outcome.prediction_time, maintain_order=True):
                assert isinstance(moment, datetime)
                clock.set(moment)
                events += self._tape.push(self._online, moment)
                wanted = [row for row in own.select(fields).iter_rows(named=True) if _key(moment, row) not in done]
                if wanted:
                    client.predict(spec.name, wanted)
                    requests += len(wanted)
        finally:
            client.close()
        clock.set(day + DAY)
        events += self._tape.push(self._online, day + DAY)
        return Played(requests, events)

    def _asked_before(self, fields: list[str], day: datetime) -> set[tuple[Any, ...]]:
        """Return what the log has of the day: only a replay that was interrupted has any."""
        settings = self._home.platform.settings
        plan = ModelRepository(settings.serving_home).deployed(self._spec.name)
        if plan is None:
            return set()
        log, _ = read_new(settings.serving_home / "predictions" / self._spec.name, log_schema(plan))
        time = pl.col("time")
        log = log.filter((time >= day) & (time < day + DAY) & pl.col("answered"))
        return {_key(row["time"], {name: row[name] for name in fields}) for row in log.iter_rows(named=True)}


def _key(moment: datetime, row: dict[str, Any]) -> tuple[Any, ...]:
    return (moment, *(_plain(value) for value in row.values()))


def _plain(value: Any) -> Any:
    """Return a request's value as the log has it: a time as seconds since the epoch."""
    if isinstance(value, datetime):
        return (value.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()  # noqa: DTZ001
    return float(value) if isinstance(value, int) else value
