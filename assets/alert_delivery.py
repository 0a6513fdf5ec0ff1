"""Delivery of alerts to one sink: at least once, not too often, again after a failure, never in the way of another.

What is due is decided in `checks/alerts.py`. The memory moves on only after the sink took the message, so nothing is
lost; what is told twice is a message whose answer was lost. Hours and back-off are by the machine's clock: it is people
and servers of today who read, whatever time is replayed.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from assets.alert_memory import SinkFile, SinkState
from assets.alert_message import Message, message_of
from assets.alert_sink import Sink, SinkError
from checks.alert_trails import Trails
from checks.alerts import Memory, due
from ml.clock import RealClock
from ml.settings import Settings

HOUR = timedelta(hours=1)
FIRST_WAIT = timedelta(seconds=30)  # after a failure; doubled by each further one
LONGEST_WAIT = timedelta(minutes=15)

Result = Literal["told", "nothing", "waits", "failed", "busy", "late"]


@dataclass(frozen=True)
class Delivery:
    """What became of a sink's turn, and one line about it."""

    sink: str
    result: Result
    line: str


@dataclass(frozen=True)
class Round:
    """What all sinks are asked to tell: the trails as they stand, at an instant of the platform's clock.

    `at_once`: a person asks, so that a sink that failed is tried again now.
    """

    settings: Settings
    trails: Trails
    now: datetime
    at_once: bool = False

    def due(self, sink: Sink, state: SinkState) -> tuple[Message | None, Memory]:
        """Return the message that the sink is due, None if there is nothing to tell, and the memory after it."""
        quiet = timedelta(hours=self.settings.alerts_quiet_hours)
        notices, memory = due(state.memory, self.trails, self.now, quiet, sink.least)
        return message_of(notices, self.now, self.settings.ui_address) if notices else None, memory

    def deliver(self, sink: Sink) -> Delivery:
        """Send what is due, and remember it. Raises OSError if it cannot be remembered; then nothing was sent."""
        file = SinkFile(self.settings.alerts_home, sink.name)
        with file.alone() as alone:
            if not alone:
                return Delivery(sink.name, "busy", "a message to it is under way")
            return self._deliver(sink, file, file.load())

    def _deliver(self, sink: Sink, file: SinkFile, state: SinkState) -> Delivery:
        message, memory = self.due(sink, state)
        if message is None:
            told = SinkState(memory, state.sent)
            if told != state:
                file.save(told)
            return Delivery(sink.name, "nothing", "nothing to tell")
        real = RealClock().now()
        if why := self.waits(sink, state, real):
            return Delivery(sink.name, "waits", f"{len(message.alerts)} to tell, {why}")
        # The try counts before it is made: were it forgotten, a disk that is full would send it every half minute.
        trying = replace(state, sent=(*(at for at in state.sent if real - HOUR < at <= real), real))
        file.save(trying)
        try:
            taken = sink.send(message)
        except SinkError as error:
            file.save(_failed(state, str(error), real))
            return Delivery(sink.name, "failed", f"{error}; {len(message.alerts)} to tell, they are kept")
        file.save(SinkState(memory, trying.sent))
        return Delivery(sink.name, "told", f"told {len(message.alerts)}: {taken}")

    def waits(self, sink: Sink, state: SinkState, real: datetime) -> str:
        """Return why a sink is not sent anything now, "" if it is."""
        if state.retry_at is not None and real < state.retry_at <= real + LONGEST_WAIT and not self.at_once:
            return f"tried again at {state.retry_at:%H:%M:%S} UTC, after {state.failures} failures: {state.error}"
        last = sorted(at for at in state.sent if real - HOUR < at <= real)
        most = self.settings.alerts_per_hour
        if sink.limited and len(last) >= most:
            return f"in one message at {last[-most] + HOUR:%H:%M:%S} UTC: it had {most} within the hour"
        return ""


def _failed(state: SinkState, error: str, real: datetime) -> SinkState:
    wait = min(FIRST_WAIT * 2 ** min(state.failures, 10), LONGEST_WAIT)
    return replace(state, failures=state.failures + 1, retry_at=real + wait, error=error)
