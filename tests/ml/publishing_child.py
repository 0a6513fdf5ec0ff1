"""Processes that publish a small view, or read it, until they are ended: offline and online, again and again."""

from pathlib import Path

import polars as pl

from ml.clock import RealClock
from ml.lake import Lake
from ml.online_publish import rebuild
from ml.online_rows import open_online_rows, read
from ml.packed import entity_key, unpack
from ml.publication import Publications
from tests.ml.small_store import DAY, FIELDS, GAUGES, SCHEMA

NAME = GAUGES.name
MONTHS = ("2013-05", "2013-06", "2013-07")
ENTITIES = 2_000
STEPS = ("stage", "publish", "rebuild")


def rows(month, number):
    """Each gauge once in a month; every value is the number of the publication."""
    gauges = pl.int_range(ENTITIES, eager=True)
    at = DAY.replace(month=int(month[-2:]))
    frame = pl.DataFrame({"gauge_id": "gauge " + gauges.cast(pl.String), "level": [float(number)] * ENTITIES})
    return frame.with_columns(
        event_timestamp=pl.lit(at).dt.cast_time_unit("us") + pl.duration(seconds=gauges),
        created_timestamp=pl.lit(at).dt.cast_time_unit("us") + pl.duration(seconds=gauges),
        readings=pl.lit(number, pl.Int64),
        river=pl.lit(f"river {number}"),
        alarm=pl.lit(number % 2 == 0),
        partition_key=pl.lit(month),
    ).select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())


def publish(home, months, number):
    """Stage, publish and rebuild online once; return the published version."""
    lake = Lake(home / "lake")
    publications = Publications(lake, RealClock())
    version = lake.replace(f"features/{NAME}", pl.concat([rows(m, number) for m in months]), months)
    publication = publications.publish(NAME, dict.fromkeys(months, version), actor="test", reason=str(number))
    rebuild([GAUGES], publications, open_online_rows(home / "online.db"), RealClock().now())
    return publication.version


def publish_for_ever(home, first, step, acknowledged):
    """Publish all months, then one, and so on; say which step is under way and what was published."""
    home, number = Path(home), first
    lake = Lake(home / "lake")
    publications, online = Publications(lake, RealClock()), open_online_rows(home / "online.db")
    while True:
        months = MONTHS if number % 2 else MONTHS[-1:]
        step.value = STEPS.index("stage")
        version = lake.replace(f"features/{NAME}", pl.concat([rows(m, number) for m in months]), months)
        step.value = STEPS.index("publish")
        done = publications.publish(NAME, dict.fromkeys(months, version), actor="test", reason=str(number))
        acknowledged.send(done.version)
        step.value = STEPS.index("rebuild")
        rebuild([GAUGES], publications, online, RealClock().now())
        number += 1


def read_until(home, stop, problems):
    """Read offline and online like a training run and a server; say what was not whole."""
    home, reads = Path(home), 0
    while not stop.is_set():
        try:
            problem = broken(home)
        except Exception as error:  # whatever a reader would see
            problem = f"{type(error).__name__}: {error}"
        reads += 1
        if problem:
            problems.put(problem)
            break
    problems.put(reads)


def broken(home):
    """Return what is not whole about the published view, None if all is."""
    lake = Lake(home / "lake")
    publications = Publications(lake, RealClock())
    current = publications.current(NAME)
    published = lake.read(f"published/{NAME}", current.version).collect()
    audited = lake.read_pinned(f"features/{NAME}", current.staged).collect()
    order = ["partition_key", "gauge_id"]
    if published.height != ENTITIES * len(MONTHS):
        return f"version {current.version} has {published.height} rows"
    if not published.select(sorted(SCHEMA)).sort(order).equals(audited.select(sorted(SCHEMA)).sort(order)):
        return f"version {current.version} holds other rows than were audited"
    return _broken_online(home)


def _broken_online(home):
    numbers = online_numbers(home)
    return f"online there are rows of publications {numbers}" if len(numbers) != 1 else None


def online_numbers(home):
    """Return the publications that the online rows of all gauges come from; None stands for a missing row."""
    keys = [entity_key({"gauge_id": f"gauge {number}"}) for number in range(ENTITIES)]
    packed = read(open_online_rows(home / "online.db"), NAME, keys)
    return {row and unpack(FIELDS, row).values[0] for row in packed}


def log(home):
    """Return the versions of all publications in the log, in its order."""
    return [publication.version for publication in Publications(Lake(home / "lake"), RealClock()).log(NAME)]
