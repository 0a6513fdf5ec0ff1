"""Asks the served model as the past did: the clock moves to each request's moment, and so does the online store."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from assets.resources import Platform
from assets.views import admit_use
from ml.clock import ReplayClock
from ml.feature_views import FeatureView
from ml.online_publish import push_until, rebuild
from ml.online_rows import OnlineRows, open_online_rows
from ml.spec import ModelSpec
from serving.client import HeadwaterClient
from serving.prediction import Prediction


@dataclass(frozen=True)
class Answered:
    """A question of the past, asked at its own moment, and the events pushed since the one before."""

    row: dict[str, Any]
    prediction: Prediction
    events: int


def ask_in_order(platform: Platform, spec: ModelSpec, rows: pl.DataFrame, timeout: float = 5.0) -> Iterator[Answered]:
    """Ask for each row of a training set, in order of prediction time, and yield the answers.

    The online store is rebuilt as of the first moment, then events are pushed in the order in which they
    became known, up to each request's prediction time. The clock stays at the last one. Raises GateClosed if a view
    that a model in use reads is not declared as it was published.
    """
    admit_use(platform, "push", [view.name for view in published_views(platform) if view.online])
    clock, online = ReplayClock(platform.settings.clock_file), open_online_rows(platform.settings.online_store)
    client = HeadwaterClient.of(platform.settings, timeout)
    try:
        fields = client.fields(spec.name)
        before: datetime | None = None
        for row in rows.sort(spec.outcome.prediction_time).iter_rows(named=True):
            now = row[spec.outcome.prediction_time]
            clock.set(now)
            pushed = _move(platform, online, before, now)
            (prediction,) = client.predict(spec.name, [{name: row[name] for name in fields}])
            yield Answered(row, prediction, pushed)
            before = now
    finally:
        client.close()


def published_views(platform: Platform) -> list[FeatureView]:
    """Return the views of which something is published: those of another problem may not be yet."""
    return [view for view in platform.feature_views if platform.publications.current(view.name) is not None]


def _move(platform: Platform, online: OnlineRows, before: datetime | None, now: datetime) -> int:
    views, publications = published_views(platform), platform.publications
    if before is None:
        return sum(rebuild(views, publications, online, now).values())
    return sum(push_until(views, publications, online, before, now).values())
