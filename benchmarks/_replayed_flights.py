"""Real rows of the past, asked in order of a real Triton in a scratch home: clock and online store move with them.

The rows are the training set's own; the user's Triton, clock, online store and prediction log are not touched.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from assets.resources import Platform
from checks.parity import FixedTables
from ml.clock import ReplayClock
from ml.history import CREATED, EVENT, INSTANT
from ml.online_publish import push_until, rebuild
from ml.online_rows import OnlineRows, open_online_rows
from ml.point_in_time import became_known
from ml.settings import Settings
from ml.spec import ModelSpec
from serving.client import HeadwaterClient
from serving.log_reader import log_schema, read_new
from serving.model_repository import ModelRepository
from serving.plan import Plan
from serving.rollout import Newcomer, deploy
from serving.server import Server
from serving.triton_files import free_ports

PORTS = ("triton_grpc_port", "triton_metrics_port")
DEADLINE_MS = 10_000  # of reading features: this is about values, and a degraded answer has none
LOG_SECONDS = 60.0

_UNTIL = "__until"


@dataclass(frozen=True)
class Replay:
    """A deployed model in a world of its own."""

    platform: Platform
    settings: Settings
    spec: ModelSpec
    plan: Plan

    def ask(self, rows: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, list[str], int]]:
        """Yield the rows of each moment with the ids of their answers and how many events were pushed before.

        `rows` have the columns of a training set. The store is rebuilt as of the first moment.
        """
        time_column = self.spec.outcome.prediction_time
        clock, online = ReplayClock(self.settings.clock_file), open_online_rows(self.settings.online_store)
        moments = rows.sort(time_column).partition_by(time_column, maintain_order=True)
        first: datetime = moments[0][time_column][0]
        views = [view for view in self.platform.feature_views if view.name in self.spec.views]
        rebuild(views, self.platform.publications, online, first)
        events, before = self._events([part[time_column][0] for part in moments]), first
        client = HeadwaterClient(f"127.0.0.1:{self.settings.triton_grpc_port}", timeout=30.0)
        try:
            fields = client.fields(self.spec.name)
            for part in moments:
                now: datetime = part[time_column][0]
                clock.set(now)
                known = events.get(now, {})
                some = [view for view in views if view.name in known]
                pushed = sum(push_until(some, FixedTables(known), online, before, now).values())
                answers = client.predict(self.spec.name, part.select(list(fields)).to_dicts())
                yield part, [answer.prediction_id for answer in answers], pushed
                before = now
        finally:
            client.close()
            online.close()

    def _events(self, moments: list[datetime]) -> dict[datetime, dict[str, pl.LazyFrame]]:
        """Return by moment what became known since the one before, of each view of which something did."""
        until, found = pl.Series(moments, dtype=INSTANT), dict[datetime, dict[str, pl.LazyFrame]]()
        for name in self.spec.views:
            events = became_known(self.platform.publications.read(name).collect(), moments[0], moments[-1])
            known = pl.select(pl.max_horizontal(events[EVENT], events[CREATED])).to_series()
            parts = events.with_columns(until.gather(until.search_sorted(known, "left")).alias(_UNTIL))
            for (moment,), part in parts.partition_by(_UNTIL, as_dict=True).items():
                found.setdefault(moment, {})[name] = part.lazy()
        return found

    def logged(self, ids: list[str]) -> pl.DataFrame:
        """Return the logged rows of the answers, in their order. Raises LookupError if some never come."""
        until, wanted = time.monotonic() + LOG_SECONDS, pl.DataFrame({"prediction_id": ids})
        while time.monotonic() < until:
            log, _ = read_new(Path(self.plan.prediction_log), log_schema(self.plan))
            found = wanted.join(log.filter("answered"), on="prediction_id", maintain_order="left")
            if found.height == len(ids):
                return found
            time.sleep(0.2)
        raise LookupError(f"{len(ids) - found.height} of {len(ids)} answers are not in {self.plan.prediction_log}")


@contextmanager
def replay(platform: Platform, spec: ModelSpec, home: Path) -> Iterator[Replay]:
    """Serve what is deployed from the scratch `home`, on an empty online store of its own.

    Raises LookupError if the model is not deployed.
    """
    deployed = ModelRepository(platform.settings.serving_home).deployed(spec.name)
    if deployed is None:
        raise LookupError(f"{spec.name} is not deployed in {platform.settings.home}; run make demo first")
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    settings = platform.settings.embedded_in(home, **ports)
    patient = spec.model_copy(update={"serving": spec.serving.model_copy(update={"deadline_ms": DEADLINE_MS})})
    ReplayClock(settings.clock_file).set(platform.clock.now())
    _make_store(settings, platform, spec)
    server = Server(settings)
    try:
        server.start()
        onnx = Path(deployed.champion.onnx)
        plan = deploy(Newcomer(patient, deployed.champion.version, onnx, platform.feature_views), settings)
        yield Replay(platform, settings, patient, plan)
    finally:
        server.stop()


def _make_store(settings: Settings, platform: Platform, spec: ModelSpec) -> None:
    """Have a store there that can be read: a router refuses to load without one."""
    online: OnlineRows = open_online_rows(settings.online_store)
    for name in spec.views:
        online.replace(name, ())
    online.close()
