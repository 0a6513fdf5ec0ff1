"""What a server's metrics port says, as numbers."""

import re
import time
import urllib.request
from typing import NamedTuple

from tests.serving.conftest import Served

_LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
FLUSHED_SECONDS = 5.0


class Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


class Scrape(NamedTuple):
    samples: list[Sample]

    @property
    def names(self) -> set[str]:
        return {sample.name for sample in self.samples}

    def of(self, name: str, **labels: str) -> list[Sample]:
        wanted = labels.items()
        return [s for s in self.samples if s.name == f"headwater_router_{name}" and wanted <= s.labels.items()]

    def total(self, name: str, **labels: str) -> float:
        return sum(sample.value for sample in self.of(name, **labels))


class Grown(NamedTuple):
    """Two scrapes, and by how much a counter grew between them."""

    before: Scrape
    after: Scrape

    def by(self, name: str, **labels: str) -> float:
        return self.after.total(name, **labels) - self.before.total(name, **labels)


def scrape(served: Served) -> Scrape:
    url = f"http://127.0.0.1:{served.settings.triton_metrics_port}/metrics"
    text = urllib.request.urlopen(url, timeout=5).read().decode()
    found = [(line, _LINE.match(line)) for line in text.splitlines() if line and not line.startswith("#")]
    assert all(match for _, match in found), [line for line, match in found if match is None]
    return Scrape([Sample(m[1], dict(_LABEL.findall(m[2] or "")), float(m[3])) for _, m in found if m])


def flushed(served: Served) -> Scrape:
    """Scrape after everything that was answered until now has been told."""
    asked = time.time()
    until = time.monotonic() + FLUSHED_SECONDS
    while time.monotonic() < until:
        found = scrape(served)
        told = [s.value for s in found.of("alive_timestamp_seconds")]
        if told and min(told) > asked:
            return found
        time.sleep(0.02)
    raise AssertionError(f"metrics were not told within {FLUSHED_SECONDS:g} s")
