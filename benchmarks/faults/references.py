"""What goes wrong in the tables that land whole: planes, airports, airlines."""

import polars as pl

from benchmarks.faults.fault import Fault
from benchmarks.faults.ways import every, lose, only, repeat, shuffle, some

PLANES = (
    Fault("seats_shuffled", "planes", "seats dealt to other aircraft", shuffle(["seats"])),
    Fault("year_missing", "planes", "half of the years missing", some(0.5, pl.lit(None, pl.Int64).alias("year"))),
    Fault(
        "year_in_the_future",
        "planes",
        "a tenth of the aircraft built in 2031",
        some(0.1, pl.lit(2031, pl.Int64).alias("year")),
    ),
    Fault(
        "planes_prefix_lost", "planes", "tail numbers without their N", every(pl.col("tailnum").str.strip_prefix("N"))
    ),
    Fault("planes_half", "planes", "half of the aircraft missing", lose(0.5)),
    Fault(
        "planes_twice", "planes", "a tenth of the aircraft again with other seats", repeat(0.1, pl.col("seats") + 20)
    ),
)

AIRPORTS = (
    Fault(
        "zones_missing", "airports", "half of the time zones missing", some(0.5, pl.lit(None, pl.String).alias("tzone"))
    ),
    Fault(
        "zones_constant",
        "airports",
        "all airports in New York's zone",
        every(pl.lit("America/New_York").alias("tzone")),
    ),
)

AIRLINES = (
    Fault("airline_missing", "airlines", "one airline is missing", only(pl.col("carrier") != "UA")),
    Fault("airlines_shuffled", "airlines", "names dealt to other airlines", shuffle(["name"])),
    Fault("airlines_twice", "airlines", "every airline twice", repeat(1.0)),
)

FAULTS = PLANES + AIRPORTS + AIRLINES
