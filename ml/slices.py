"""How good answers are in parts of the rows: by a category, or by the hour of a local time."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import polars as pl

from ml.spec import ModelSpec

if TYPE_CHECKING:
    from ml.task import Task

MIN_ROWS = 200

_SECONDS_AN_HOUR = 3600


def slices(
    rows: pl.DataFrame,
    column: str,
    task: "Task",
    label: str = "label",
    answer: str = "answer",
    min_rows: int = MIN_ROWS,
) -> pl.DataFrame:
    """Return one row of metrics a value of `column`, largest first; columns as in the task's metrics.

    Values with fewer than `min_rows` rows, or whose labels are all equal, are left out.
    """

    def metrics(part: pl.DataFrame) -> dict[str, Any]:
        return asdict(task.evaluate(part[label], part[answer]))

    found = [
        {"column": column, "value": value, **metrics(part)} for value, part in parts(rows, column, label, min_rows)
    ]
    return pl.DataFrame(found).sort("rows", descending=True) if found else pl.DataFrame({"column": [], "value": []})


def parts(rows: pl.DataFrame, column: str, label: str, min_rows: int = MIN_ROWS) -> list[tuple[str, pl.DataFrame]]:
    """Return each value of `column` with its rows, in order, where these are enough and their labels differ."""
    grouped = rows.sort(column, maintain_order=True).group_by(column, maintain_order=True)
    return [(str(value), part) for (value,), part in grouped if part.height >= min_rows and part[label].n_unique() > 1]


def slice_columns(spec: ModelSpec) -> list[pl.Expr]:
    """Return what the rows of a model can be judged in parts by: categories, and hours of local times."""
    categories = [pl.col(field.name) for field in spec.request if field.kind == "categorical"]
    hours = [
        (pl.col(field.name) % 86_400 // _SECONDS_AN_HOUR).cast(pl.Int8).alias(f"{field.name}_hour")
        for field in spec.request
        if field.kind == "local_time"
    ]
    return [*categories, *hours]


def declared_columns(spec: ModelSpec) -> dict[str, str]:
    """Return the column (of `slice_columns`) of each field that the spec declares to be judged in parts by."""
    kinds = {field.name: field.kind for field in spec.request}
    return {name: f"{name}_hour" if kinds[name] == "local_time" else name for name in spec.slices}
