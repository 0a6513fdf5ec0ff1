"""Characters that are wrong while the file can still be read: mojibake, replaced bytes, look-alikes, padding."""

import polars as pl

from benchmarks.faults.fault import Fault
from benchmarks.faults.ways import every, some

MOJIBAKE = "Ã\u0085"  # "Å" in UTF-8, read as Latin-1


FAULTS = (
    Fault(
        "mojibake_tails",
        "flights",
        "A in tail numbers became two other characters",
        every(pl.col("tailnum").str.replace_all("A", MOJIBAKE)),
    ),
    Fault(
        "replaced_bytes",
        "flights",
        "the first letter of a tenth of the tail numbers is the replacement character",
        some(0.1, pl.col("tailnum").str.replace("^.", "\ufffd")),
    ),
    Fault(
        "invisible_space",
        "flights",
        "a zero-width space in one carrier in ten",
        some(0.1, pl.col("carrier") + "\u200b"),
    ),
    Fault("cyrillic", "flights", "a Cyrillic A in carrier AA", every(pl.col("carrier").str.replace("^A", "\u0410"))),
    Fault(
        "mojibake_airlines",
        "airlines",
        "names of airlines wrongly decoded",
        every(pl.col("name").str.replace_all("A", MOJIBAKE)),
    ),
)
