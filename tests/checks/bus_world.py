"""A made-up bus company: raw trips in a lake, views of them by SQL of any quality, a training set joined from these."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from checks.leakage_rebuild import TrainingSet
from ml.feature_views import FeatureView
from ml.lake import Lake
from ml.months import Months
from ml.packed import Field
from ml.rebuild import Cut, Made, RawTables, Rebuilder
from ml.recipe import Recipe
from ml.source import KnownEarlier, ParquetReader, Source
from ml.spec import Gates, ModelSpec, Outcome
from ml.split_windows import Split, Window

INSTANT = pl.Datetime("us", "UTC")
START = datetime(2013, 7, 1, tzinfo=UTC)
TRIP = timedelta(minutes=60)
MONTHS = ("2013-07", "2013-08")


def _arrival(rows: pl.DataFrame) -> pl.Series:
    return rows.select(pl.col("planned") + TRIP + pl.duration(minutes=pl.col("late"))).to_series()


def _departure(rows: pl.DataFrame) -> pl.Series:
    return rows.select(pl.col("planned") + pl.duration(minutes=pl.col("held"))).to_series()


TRIPS = Source(
    name="trips",
    description="Bus trips, known when they end; that a bus has left, when it leaves.",
    owner="team:tests",
    reader=ParquetReader("nowhere"),
    columns={
        "trip": (pl.Int64(), "Trip."),
        "bus": (pl.String(), "Bus."),
        "depot": (pl.String(), "Where it leaves."),
        "planned": (INSTANT, "Planned departure."),
        "held": (pl.Int64(), "Minutes it left late."),
        "late": (pl.Int64(), "Minutes it arrived late."),
    },
    key=("trip",),
    known_at=_arrival,
    partition=pl.col("planned").dt.strftime("%Y-%m"),
    months=Months("2013-01"),
    known_earlier=(KnownEarlier(("bus", "depot", "planned", "held"), _departure),),
)


def view(name: str, key: str, ttl: timedelta, *fields: Field) -> FeatureView:
    return FeatureView(name, (key,), (key,), ("string",), ttl, "team:tests", True, "A view.", fields)


BUS = view("bus_state", "bus", timedelta(days=3), Field("last_late", "int"), Field("mean_late", "float"))
DEPOT = view("depot_state", "depot", timedelta(hours=6), Field("departures_3h", "int"), Field("held_3h", "int"))

STAGING = """create or replace view "w"."staging"."trips" as
select *, planned + to_minutes(held) as left_at, created_timestamp = event_timestamp as is_original
from "w"."raw"."trips" -- every version
"""

BUS_SQL = """
select
    bus, late as last_late,
    sum(late) over last_day / count(*) over last_day as mean_late,
    event_timestamp, event_timestamp as created_timestamp, strftime(event_timestamp, '%Y-%m') as partition_key
from "w"."staging"."trips"
where is_original
window last_day as (
    partition by bus order by event_timestamp range between interval 1 day preceding and current row
)
"""

DEPOT_SQL = """
with minutes as (
    select depot, left_at, count(*) as departures, sum(held) as held
    from "w"."staging"."trips" where is_original group by depot, left_at
)
select
    depot,
    cast(sum(departures) over last_3h as bigint) as departures_3h,
    cast(sum(held) over last_3h as bigint) as held_3h,
    left_at as event_timestamp, left_at as created_timestamp, strftime(left_at, '%Y-%m') as partition_key
from minutes
window last_3h as (
    partition by depot order by left_at range between interval 3 hours preceding and current row
)
"""

SPEC = ModelSpec(
    name="bus_delay",
    description="A made-up model.",
    owner="team:tests",
    outcome=Outcome(table="trips", row_id="trip", label="is_late", label_timestamp="arrived"),
    features=(
        *("bus_state:last_late", "bus_state:mean_late"),
        *("depot_state:departures_3h", "depot_state:held_3h"),
    ),
    request=(),
    split=Split(
        train=Window(start=START, end=START + timedelta(days=20)),
        validation=Window(start=START + timedelta(days=20), end=START + timedelta(days=30)),
        test=Window(start=START + timedelta(days=30), end=START + timedelta(days=62)),
    ),
    gates=Gates(min_score=0.5, max_score=1.0),
)


@dataclass(frozen=True)
class World:
    """The lake with its raw trips."""

    lake: Lake
    version: int

    def training_set(self, bus: str = BUS_SQL, depot: str = DEPOT_SQL, staging: str = STAGING) -> TrainingSet:
        """Build the views with this SQL from all there is, as dbt does, and join them to the trips."""
        made = {BUS.name: [self.made(bus, staging)], DEPOT.name: [self.made(depot, staging)]}
        trips = self.lake.read("raw/trips", self.version).filter(
            pl.col("created_timestamp") == pl.col("event_timestamp")
        )
        asked = trips.select(
            *("trip", "bus", "depot"),
            (pl.col("planned") - timedelta(minutes=30)).alias("prediction_time"),
            (pl.col("late") > 10).cast(pl.Int64).alias("is_late"),
            pl.col("event_timestamp").alias("arrived"),
        )
        rows = asked.sort("prediction_time", "trip").collect()
        everything = Rebuilder(RawTables(self.lake, [TRIPS]))
        for part in (BUS, DEPOT):
            keys = rows.select(*part.join_keys, "prediction_time")
            rows = rows.hstack(everything.values(part, made[part.name], keys, "prediction_time", Cut()))
        return TrainingSet(SPEC, rows, (BUS, DEPOT), made)

    def made(self, query: str, staging: str = STAGING) -> Made:
        relations = {"raw/trips": '"w"."raw"."trips"'}
        return Made(
            MONTHS, Recipe({"raw/trips": self.version}, "w", ("raw", "staging"), relations, (staging,), query, 1)
        )


def bus_world(folder: Path, count: int = 4000, seed: int = 5) -> World:
    """Land two months of trips of twenty buses from three depots; a few were corrected a day later."""
    random = np.random.default_rng(seed)
    minutes = np.sort(random.integers(0, 60 * 24 * 60, count))
    held = random.integers(0, 20, count)
    trips = pl.DataFrame(
        {
            "trip": np.arange(count),
            "bus": [f"bus {n}" for n in random.integers(0, 20, count)],
            "depot": [f"depot {n}" for n in random.integers(0, 3, count)],
            "planned": pl.Series([START + timedelta(minutes=int(m)) for m in minutes], dtype=INSTANT),
            "held": held,
            "late": held + random.integers(-10, 30, count),
        }
    )
    known = TRIPS.known_at(trips).alias("event_timestamp")
    trips = trips.with_columns(known, known.alias("created_timestamp"), TRIPS.partition.alias("partition_key"))
    corrected = trips.sample(fraction=0.02, seed=seed).with_columns(
        pl.col("late") + 40, pl.col("created_timestamp") + timedelta(days=1)
    )
    lake = Lake(folder)
    return World(lake, lake.replace("raw/trips", pl.concat([trips, corrected]), list(MONTHS)))


def changed(sql: str, old: str, new: str) -> str:
    """Return SQL with a mistake in it."""
    assert old in sql
    return sql.replace(old, new)


def tampered(training_set: TrainingSet, place: int, column: str) -> TrainingSet:
    """Return the training set with another value in one cell."""
    rows = training_set.rows
    other = rows[column].scatter(place, (rows[column][place] or 0) + 1)
    return replace(training_set, rows=rows.with_columns(other))
