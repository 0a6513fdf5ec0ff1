"""What every sink of alerts is: it takes a message whole, once, or says why it did not.

The sinks: `assets/alert_webhook.py`, `alert_mail.py`, `alert_log.py`. When, how often and again after a failure:
`assets/alert_delivery.py`.
"""

from typing import Protocol

from assets.alert_message import Message
from ml.alert_settings import Severity


class SinkError(Exception):
    """A sink did not take a message, or its settings are wrong."""


class Sink(Protocol):
    """Takes messages."""

    @property
    def name(self) -> str:
        """What it is called: in messages, and in the name of the file that remembers what it was told."""
        ...

    @property
    def least(self) -> Severity:
        """The least severity that it is told."""
        ...

    @property
    def limited(self) -> bool:
        """Whether people read it, so that there are only so many messages an hour."""
        ...

    def send(self, message: Message) -> str:
        """Return who took the message; raise SinkError, which names no secret, if nobody did."""
        ...
