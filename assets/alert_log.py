"""Alerts in a file, a line of JSON each, for programs and for the whole list behind a message that only counts."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from assets.alert_message import Message
from assets.alert_sink import SinkError
from ml.alert_settings import Severity
from ml.settings import Settings


@dataclass(frozen=True)
class LogFile:
    """A file with a line of JSON an alert, all of them."""

    path: Path
    least: Severity
    name: str = "file"
    limited: bool = False

    def send(self, message: Message) -> str:
        """Append the lines; they are on the disk when this returns. A line that a kill cut short gets an end first."""
        told = [{"told_at": message.at.isoformat(), **alert} for alert in message.alerts or [{"test": message.text}]]
        lines = "".join(json.dumps(alert) + "\n" for alert in told).encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                    lines = b"\n" + lines
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise SinkError(f"{self.path}: {error.strerror}") from None
        return str(self.path)


def open_log(settings: Settings) -> LogFile | None:
    """Return the log file, None if it is off."""
    path = settings.alerts_log
    return None if path is None else LogFile(path, settings.alerts_file_least)
