"""A home with a trail, whose settings say where alerts go."""

import json

from assets import alerts
from assets.alert_memory import SinkFile
from assets.resources import Platform
from ml.settings import Settings
from tests.alert_trail import Trail


class World(Trail):
    """A home with a trail, whose settings say where alerts go."""

    def __init__(self, home):
        super().__init__(home)
        self.given = {"home": home, "alerts_timeout_seconds": 2}
        self.tell()  # the sinks are there before anything happens

    def platform(self):
        return Platform(Settings(**self.given))

    def tell(self, wait=20.0, at_once=True):
        return {d.sink: d for d in alerts.tell(self.platform(), wait, at_once)}

    def file(self, sink):
        return SinkFile(self.home / "alerts", sink)

    def later(self, sink, by):
        """Let real time pass for a sink, by putting what it remembers of it back."""
        state = self.file(sink).load()
        retry_at = state.retry_at and state.retry_at - by
        moved = {"sent": tuple(at - by for at in state.sent), "retry_at": retry_at}
        self.file(sink).save(type(state)(**{**vars(state), **moved}))

    def log(self):
        path = self.home / "logs" / "alerts.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
