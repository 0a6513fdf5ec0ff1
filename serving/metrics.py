"""Tells Triton what a router does, so that one scrape of its metrics port has both. Runs inside Triton.

A call to Triton takes some 0.1 ms and holds the interpreter, so a thread makes them, seldom and with rests between.
Counting is in `tally`, names and labels are in `metric_families`.
"""

import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ml.clock import RealClock
from serving.metric_families import FAMILIES, INFINITE, SECONDS, VERSION, le
from serving.metric_slot import Slot
from serving.seen import Levels
from serving.tally import Series, Tally

FLUSH_SECONDS = 1.0
KEPT_GONE = 4  # versions that left the plan and keep their series, so that a last scrape sees their last counts
_REST_SECONDS = 0.0005
_ROUTER = "headwater_router_"
Group = tuple[str, ...]  # a version and its variant, of series that have these labels; () of the others


class MetricsApi(Protocol):
    """What we need of `triton_python_backend_utils`."""

    MetricFamily: Any


class Watched(Protocol):
    """What we need of the router."""

    watchers: list[Any]

    def levels(self) -> Levels:
        """Return what is true at the moment."""


class Metrics:
    """The metrics of one process of a router, told from a thread until `close`."""

    def __init__(self, api: MetricsApi, router: Watched, home: Path, model: str) -> None:
        self._router, self._tally = router, Tally()
        self._slot = Slot(home, model)
        self._series = TritonSeries(api, {"model": model, "process": self._slot.name})
        self._before = (0, 0)
        self._kept: list[Group] = []
        self._gone: list[Group] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        router.watchers.append(self._tally)
        self._thread.start()

    def close(self) -> None:
        """Stop, and take all series back."""
        self._stop.set()
        self._thread.join()
        self._series.close()
        self._slot.close()

    def flush(self) -> None:
        """Tell what grew, and what is true at the moment."""
        began, levels = RealClock().now().timestamp(), self._router.levels()
        for name, now, before in zip(
            ("log_dropped_frames", "shadow_batches_left_out"),
            (levels.dropped, levels.left_out),
            self._before,
            strict=True,
        ):
            self._tally.grow(name, (), now - before)
        self._before = (levels.dropped, levels.left_out)
        for (name, labels), amount in self._tally.take().items():
            self._series.tell(name, labels, amount)
            time.sleep(_REST_SECONDS)  # who answers waits for no more than one call
        for name, value in _gauges(levels, began).items():
            self._series.tell(name, (), value)
        self._forget(levels)

    def _forget(self, levels: Levels) -> None:
        """Take back the series of versions that left the plan, but for those that left last."""
        groups = [group for group in self._series.groups() if group and group not in levels.arms]
        self._gone = [group for group in self._gone if group in groups]
        self._gone += sorted(group for group in groups if group not in self._gone)
        while len(self._gone) > KEPT_GONE:
            self._series.take_back(self._gone.pop(0))

        if (groups := self._series.groups()) != self._kept:
            self._slot.keep(groups)
            self._kept = groups

    def _run(self) -> None:
        told, inherited = "", self._slot.inherited()
        while not self._stop.wait(FLUSH_SECONDS):
            try:
                while inherited:
                    if group := inherited.pop():
                        self._series.adopt(group)
                self.flush()
            except Exception as error:  # metrics must not hurt those that answer
                if str(error) != told:
                    told = str(error)
                    print(f"metrics are not told: {error}", file=sys.stderr, flush=True)


class TritonSeries:
    """Series in Triton. They are those of one object of a family a group: that is how Triton lets them be removed."""

    def __init__(self, api: MetricsApi, common: Mapping[str, str]) -> None:
        self._api, self._common = api, common
        self._families: dict[tuple[Group, str], Any] = {}
        self._metrics: dict[Group, dict[Series, Any]] = {}

    def groups(self) -> list[Group]:
        """Return the groups that have series."""
        return list(self._metrics)

    def tell(self, name: str, labels: tuple[str, ...], value: float) -> None:
        """Let a counter grow by a value, or set a gauge to it."""
        family = FAMILIES[name]
        named = dict(zip(family.labels, labels, strict=True))
        group = (named["version"], named["variant"]) if "version" in named else ()
        metric = self._metrics.setdefault(group, {}).get((name, labels))
        if metric is None:
            metric = self._family(group, name).Metric(labels={**self._common, **named})
            self._metrics[group][name, labels] = metric
        if family.kind == "gauge":
            metric.set(value)
        elif value:
            metric.increment(value)

    def adopt(self, group: Group) -> None:
        """Take over the series of a version that a killed process with our labels left."""
        for name, family in FAMILIES.items():
            if family.labels == VERSION:
                self.tell(name, group, 0)
            elif family.labels == (*VERSION, "le"):
                for bound in (*SECONDS, INFINITE):
                    self.tell(name, (*group, le(bound)), 0)

    def take_back(self, group: Group) -> None:
        """Remove the series of a group."""
        self._metrics.pop(group, None)
        for key in [key for key in self._families if key[0] == group]:
            del self._families[key]  # Triton removes what the object has

    def close(self) -> None:
        """Remove all series."""
        for group in self.groups():
            self.take_back(group)

    def _family(self, group: Group, name: str) -> Any:
        if (group, name) not in self._families:
            kind, api = FAMILIES[name].kind, self._api.MetricFamily
            self._families[group, name] = api(
                name=name, description=FAMILIES[name].told, kind=api.GAUGE if kind == "gauge" else api.COUNTER
            )
        return self._families[group, name]


def _gauges(levels: Levels, began: float) -> dict[str, float]:
    named = {
        "log_waiting_bytes": levels.log_waiting,
        "log_capacity_bytes": levels.log_capacity,
        "plan_revision": levels.revision,
        "open_sessions": levels.sessions,
        "open_sessions_bytes": levels.sessions_size,
        "alive_timestamp_seconds": began,
    }
    return {f"{_ROUTER}{name}": float(value) for name, value in named.items()}
