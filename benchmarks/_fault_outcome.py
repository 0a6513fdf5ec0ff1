"""What came of a faulty month: what refused it and where, and whether anything that is published changed.

What readers get is compared row by row: every published table and the online store, which is all that served
answers are made of.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import dagster as dg
import polars as pl

from assets.resources import Platform
from ml.fingerprint import content_hash
from ml.lake import PARTITION_KEY
from ml.models import MODELS

State = Literal["caught", "harmless", "missed", "crashed", "nothing ran", "passed on"]
Published = dict[str, str]  # a hash of the rows of each table and online view that readers see
MATERIAL = 0.001  # from this share of a column's cells of the month on
CLEAR = ("GateClosed", "LookupError", "ValueError", "Failure")  # errors that are raised to say what is wrong


@dataclass(frozen=True)
class Refusal:
    """Something that refused: a check on a table, or an asset that would not go on (`check` is then what it raised).

    `clear` is false for an error that nobody raised to say what is wrong.
    """

    table: str
    check: str
    reason: str
    clear: bool = True

    @property
    def stage(self) -> str:
        """The stage of the lineage: raw, features, published."""
        return self.table.split("/")[0]


@dataclass(frozen=True)
class Result:
    """A fault's fate on one path. `share` is that of the cells of `column` that are published wrong."""

    state: State
    refusals: tuple[Refusal, ...] = ()
    share: float = 0.0
    column: str = ""

    @property
    def material(self) -> bool:
        """Whether enough published cells are wrong to matter."""
        return self.state == "missed" and self.share >= MATERIAL

    def __str__(self) -> str:
        if self.state == "missed":
            return f"missed: {self.share:.2%} of {self.column}"
        if not self.refusals:
            return self.state
        named = list(dict.fromkeys(f"{r.stage} {r.check}" for r in self.refusals))
        return f"{self.state}: {', '.join(named[:3])}"


def published(platform: Platform) -> Published:
    """Take down what readers see now."""
    seen = {}
    for name in tables_of(platform):
        rows = platform.publications.read(name).collect()
        seen[f"published/{name}"] = content_hash(rows.sort(rows.columns))
    online: dict[str, list[str]] = {}
    with sqlite3.connect(platform.settings.online_store) as store:
        for key, *row in store.execute("SELECT * FROM packed_rows ORDER BY key"):
            online.setdefault(key.partition(":")[0], []).append(f"{key} {row}")
    return seen | {f"online/{view}": sha256("\n".join(rows).encode()).hexdigest() for view, rows in online.items()}


def tables_of(platform: Platform) -> list[str]:
    """Return the names of all tables that are published."""
    return sorted({*(view.name for view in platform.feature_views), *(spec.outcome.table for spec in MODELS)})


def fate(now: Published, before: Published, clean: Published, refusals: Sequence[Refusal]) -> State:
    """Return the fate of a month. A table of which nothing faulty is published is as before, or as a clean month's."""
    if any(rows not in (before.get(name), clean.get(name)) for name, rows in now.items()) or now.keys() < before.keys():
        return "missed"
    return "harmless" if now == clean else stopped(refusals)


def stopped(refusals: Sequence[Refusal]) -> State:
    """Return the fate of a month of which not everything was published."""
    if not refusals:
        return "nothing ran"
    return "caught" if any(refusal.clear for refusal in refusals) else "crashed"


def wrong_share(
    platform: Platform, clean: dict[str, pl.DataFrame], wrong: dict[str, pl.DataFrame]
) -> tuple[float, str]:
    """Return the largest share of a published column's cells that differ from the clean month's, and which column.

    Rows are matched by key. A row that only one side has differs in all columns. A table of which the month was not
    published has no cells.
    """
    shares = (
        (share, f"{name}.{column}")
        for name, right in clean.items()
        if not wrong[name].is_empty()
        for column, share in _shares(right, wrong[name], _keys(platform, name))
    )
    return max(shares, default=(0.0, ""))


def month_of(platform: Platform, month: str) -> dict[str, pl.DataFrame]:
    """Return the published rows of a month, by table."""
    read = platform.publications.read
    return {name: read(name).filter(pl.col(PARTITION_KEY) == month).collect() for name in tables_of(platform)}


def refusals_since(platform: Platform, instance: dg.DagsterInstance, verdicts: int, runs: set[str]) -> list[Refusal]:
    """Return what refused since there were so many verdicts and these runs: failed blocking checks, then errors."""
    found = [Refusal(*row) for row in _all_failed(platform)[verdicts:]]
    for record in reversed(instance.get_run_records()):
        run = record.dagster_run
        if run.run_id not in runs and run.is_failure:
            found += _errors(instance, run.run_id)
    return found


def failed_count(platform: Platform) -> int:
    """Return how many blocking checks have failed so far."""
    return len(_all_failed(platform))


def _all_failed(platform: Platform) -> list[tuple[str, str, str]]:
    if not platform.lake.exists("audit/verdicts"):
        return []
    rows = platform.lake.read("audit/verdicts").filter(~pl.col("passed"), pl.col("blocking")).collect().sort("order")
    summary = pl.col("evidence").str.json_path_match("$.summary").fill_null("")
    return [(t, c, s) for t, c, s in rows.select("table", "check", summary.alias("why")).iter_rows()]


def _errors(instance: dg.DagsterInstance, run: str) -> Iterator[Refusal]:
    """Yield the errors of a run's steps, but those that only repeat a failed check."""
    for entry in instance.all_logs(run, of_type=dg.DagsterEventType.STEP_FAILURE):
        event = entry.get_dagster_event()
        error = event.step_failure_data.error
        if error is not None and error.cls_name == "DagsterExecutionStepExecutionError":
            error = error.cause  # Dagster's wrapper says only which step it was
        name = (error.cls_name if error else None) or "error"
        if name != "DagsterAssetCheckFailedError":
            reason = error.message.strip() if error else ""
            yield Refusal((event.step_key or "").replace("__", "/"), name, reason, name in CLEAR)


def _keys(platform: Platform, name: str) -> list[str]:
    for view in platform.feature_views:
        if view.name == name:
            return [*view.join_keys, "event_timestamp", "created_timestamp"]
    return [spec.outcome.row_id for spec in MODELS if spec.outcome.table == name][:1]


def _shares(right: pl.DataFrame, wrong: pl.DataFrame, keys: list[str]) -> Iterator[tuple[str, float]]:
    number = pl.int_range(pl.len()).over(keys).alias("_number")  # rows that share a key are paired in order
    on = [*keys, "_number"]
    values = [name for name in right.columns if name not in (*keys, PARTITION_KEY)]
    pairs = right.with_columns(number, pl.lit(True).alias("_right")).join(
        wrong.select(*keys, *values).with_columns(number, pl.lit(True).alias("_wrong")),
        on=on,
        how="full",
        nulls_equal=True,
        suffix="_other",
    )
    alone = pl.col("_right").is_null() | pl.col("_wrong").is_null()
    for name in values:
        differs = pairs.select((alone | pl.col(name).ne_missing(pl.col(f"{name}_other"))).sum()).item()
        yield name, differs / max(right.height, 1)
