"""A small published lake of river gauges, and Feast over it: not the shipped field, on purpose."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from ml.clock import ReplayClock
from ml.feature_store import open_feature_store, published_versions
from ml.feature_views import FeatureView
from ml.lake import Lake
from ml.packed import Field
from ml.publication import Publications

DAY = datetime(2013, 7, 1, tzinfo=UTC)
FIELDS = (Field("level", "float"), Field("readings", "int"), Field("river", "string"), Field("alarm", "bool"))
GAUGES = FeatureView(
    name="gauge_state",
    entities=("gauge",),
    join_keys=("gauge_id",),
    join_key_kinds=("string",),
    ttl=timedelta(hours=6),
    owner="team:hydrology",
    online=True,
    description="Last reading of each gauge.",
    fields=FIELDS,
)
SCHEMA = {
    "gauge_id": pl.String,
    "event_timestamp": pl.Datetime("us", "UTC"),
    "created_timestamp": pl.Datetime("us", "UTC"),
    "level": pl.Float64,
    "readings": pl.Int64,
    "river": pl.String,
    "alarm": pl.Boolean,
    "partition_key": pl.String,
}


def hour(count):
    return DAY + timedelta(hours=count)


def gauge(gauge_id, event, created, level):
    """One version of a gauge's reading; the other features follow from its level."""
    river = None if level is None else f"river {level:g}"
    count = None if level is None else int(level)
    alarm = None if level is None else level > 2
    return (gauge_id, hour(event), hour(created), level, count, river, alarm, "2013-07")


@dataclass
class SmallStore:
    """One lake, its publications, a replayed clock, and the files of Feast's store."""

    home: Path
    online: str = ""

    def __post_init__(self):
        self.lake = Lake(self.home / "lake")
        self.clock = ReplayClock(self.home / "clock.json")
        self.clock.set(hour(0))
        self.publications = Publications(self.lake, self.clock)
        self.online = self.online or str(self.home / "online.db")

    def publish(self, *versions):
        frame = pl.DataFrame(versions, schema=SCHEMA, orient="row")
        version = self.lake.replace("features/gauge_state", frame, ["2013-07"])
        self.publications.publish("gauge_state", {"2013-07": version}, actor="test")

    def open(self, views=(GAUGES,)):
        return open_feature_store(
            views,
            lake=self.lake.root,
            registry=self.home / "feast" / "registry.db",
            online_store=self.online,
            clock_file=self.home / "clock.json",
            versions=published_versions(self.publications, views),
        )


def rows_at(*rows):
    """Entity rows as (gauge, hour)."""
    return pl.DataFrame(
        [(gauge_id, hour(at)) for gauge_id, at in rows],
        schema={"gauge_id": pl.String, "event_timestamp": pl.Datetime("us", "UTC")},
        orient="row",
    )
