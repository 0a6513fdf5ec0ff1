"""One real month joined by polars and by Feast's Spark store: every value compared, and what each takes.

    make spark [MONTH=2013-07]

The rows are all outcomes of the month (HEADWATER_HOME's published ones), the features all of all views.
Spark's first join carries the start of its JVM; both are run twice and both times are shown.
"""

import sys
import time
from dataclasses import dataclass

import polars as pl

from assets.resources import Platform, platform_for
from benchmarks.report import conclude
from ml.models import MODELS
from ml.settings import Settings

MONTH = "2013-07"
ENGINES = ("polars", "spark")
BAR = 1.0  # what one machine holds, polars joins faster


@dataclass(frozen=True)
class Difference:
    """How many cells of two frames differ, and the first one: row, column and both values."""

    cells: int
    first: str


def main() -> None:
    """Join, compare and print. Raises LookupError if nothing is published, or a value differs."""
    platform, month = platform_for(Settings()), sys.argv[2] if len(sys.argv) > 2 else MONTH
    rows, references = entity_rows(platform, month), _references(platform)
    frames, seconds = {}, {}
    for engine in ENGINES:
        frames[engine], seconds[engine] = _joined(engine, rows, references)
        first, second = seconds[engine]
        print(f"{engine:<8} {rows.height} rows x {len(references)} features: {first:.2f} s, again {second:.2f} s")
    found = difference(frames["polars"], frames["spark"])
    known = sum(frames["polars"][reference.replace(":", "__")].count() for reference in references)
    print(f"compared {rows.height * len(references)} values, {known} not null: {found.cells} differ. {found.first}")
    ratio = seconds["spark"][1] / seconds["polars"][1]
    conclude("engines", ratio, BAR, month=month, rows=rows.height, columns=len(references), differ=found.cells)
    if found.cells:
        raise LookupError(f"polars and Spark differ: {found.first}")


def entity_rows(platform: Platform, month: str) -> pl.DataFrame:
    """Return the join keys of all views and the prediction time of a month's published outcomes."""
    outcome = MODELS[0].outcome
    keys = sorted({key for view in platform.feature_views for key in view.join_keys})
    outcomes = platform.publications.read(outcome.table).filter(pl.col("partition_key") == month)
    rows = outcomes.select(*keys, pl.col(outcome.prediction_time).alias("event_timestamp")).collect()
    if rows.is_empty():
        raise LookupError(f"no outcomes of month {month!r} are published in {platform.settings.home}; run make demo")
    return rows


def difference(ours: pl.DataFrame, theirs: pl.DataFrame) -> Difference:
    """Compare two frames cell by cell; a null equals only a null.

    Raises ValueError if they differ in columns, types or height.
    """
    if ours.schema != theirs.schema or ours.height != theirs.height:
        raise ValueError(f"{ours.height} rows of {ours.schema} and {theirs.height} rows of {theirs.schema}")
    cells, first = 0, ""
    for column in ours.columns:
        differs = ours[column].ne_missing(theirs[column])
        if not first and differs.any():
            row = differs.arg_true()[0]
            first = f"first: row {row}, column {column!r}: {ours[column][row]!r} and {theirs[column][row]!r}"
        cells += int(differs.sum())
    return Difference(cells, first)


def _references(platform: Platform) -> list[str]:
    return [f"{view.name}:{field.name}" for view in platform.feature_views for field in view.fields]


def _joined(engine: str, rows: pl.DataFrame, references: list[str]) -> tuple[pl.DataFrame, tuple[float, float]]:
    from ml.feature_store import historical_features, published_versions

    platform = platform_for(Settings(offline_store=engine))  # type: ignore[arg-type]
    store = platform.feature_store(published_versions(platform.publications, platform.feature_views))
    times = []
    for _ in range(2):
        started = time.perf_counter()
        frame = historical_features(store, rows, references)
        times.append(time.perf_counter() - started)
    return frame, (times[0], times[1])
