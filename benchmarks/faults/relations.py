"""Columns that are each likely and contradict each other."""

import polars as pl

from benchmarks.faults.fault import Fault
from benchmarks.faults.ways import every, shuffle, some, where

FAULTS = (
    Fault(
        "delays_contradict_times",
        "flights",
        "departure and arrival delays dealt apart within the hour",
        shuffle(["dep_delay"], ["day", "hour"]),
    ),
    Fault(
        "schedule_contradicts_hour",
        "flights",
        "scheduled departures two hours later than hour and minute say",
        every((pl.col("sched_dep_time") + 200) % 2400),
    ),
    Fault(
        "faster_than_sound",
        "flights",
        "a fifth of the air time in 3 % of the rows",
        some(0.03, pl.col("air_time") // 5),
    ),
    Fault(
        "date_contradicts_time_hour",
        "flights",
        "the day one later in half of the month",
        where(pl.col("day") <= 14, pl.col("day") + 1),
    ),
    Fault(
        "arrived_without_departing",
        "flights",
        "no departure delay for a tenth of the flights that arrived",
        some(0.1, pl.lit(None, pl.Int64).alias("dep_delay")),
    ),
    Fault(
        "aircraft_in_two_places",
        "flights",
        "a carrier's aircraft all have the tail numbers of its first ten",
        where(pl.col("carrier") == "UA", pl.col("tailnum").gather(pl.int_range(pl.len()) % 10)),
    ),
    Fault(
        "dew_point_above_temperature",
        "weather",
        "the dew point 40 degrees higher in a tenth of the hours",
        some(0.1, pl.col("dewp") + 40),
    ),
    Fault(
        "humidity_contradicts",
        "weather",
        "humidity dealt to other hours of the day",
        shuffle(["humid"], ["origin", "day"]),
    ),
)
