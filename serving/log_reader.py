"""Reads new lines of the prediction log into polars. Platform side; writing them is in `prediction_log`.

A column each: prediction_id, time, model, model_version, revision, the output (probability or value), degraded,
the join keys and request fields by name, every feature as view__feature, each view's row time as view__event_timestamp,
and as view__status whether it was there, and why not.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from serving.plan import Plan

INSTANT = pl.Datetime("us", "UTC")

_BASE: dict[str, Any] = {
    "prediction_id": pl.String,
    "time": INSTANT,
    "model": pl.String,
    "model_version": pl.String,
    "revision": pl.Int64,
}
_KINDS: dict[str, Any] = {"float": pl.Float64, "int": pl.Int64, "string": pl.String, "bool": pl.Boolean}


def log_schema(plan: Plan) -> dict[str, Any]:
    """Return name and polars type of every column that the plan's predictions have."""
    kinds = {(view.name, field.name): _KINDS[field.kind] for view in plan.views for field in view.fields}
    return {
        **_BASE,
        plan.output: pl.Float64,
        "degraded": pl.Boolean,
        **{field.name: pl.String if field.dtype == "BYTES" else pl.Float64 for field in plan.request},
        **{key.name: _KINDS[key.kind] for view in plan.views for key in view.join_keys},
        **{i.column: kinds[i.view, i.source] for i in plan.inputs if i.view is not None},
        **{f"{view.name}__event_timestamp": INSTANT for view in plan.views},
        **{f"{view.name}__status": pl.String for view in plan.views},
    }


def read_new(
    folder: Path, schema: Mapping[str, Any], cursor: Mapping[str, int] | None = None
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the log's lines behind `cursor` in time order, and the cursor for the next call.

    The cursor maps file name to bytes read (JSON-safe; None reads all). `schema` comes from `log_schema`;
    a column that a line lacks is null, one that the schema lacks is left out. A half-written last line
    stays for the next call. Raises ValueError naming file and byte for a complete line that is damaged.
    """
    seen = dict(cursor or {})
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob("*.jsonl")):
        start = seen.get(path.name, 0)
        with path.open("rb") as file:
            file.seek(start)
            whole = file.read().rpartition(b"\n")[0]
        for line in whole.splitlines(keepends=True):
            rows.append(_flat(path, start, line))
            start += len(line)
        seen[path.name] = start + (1 if whole else 0)
    frame = pl.DataFrame(rows, schema={name: _raw(kind) for name, kind in schema.items()}, orient="row")
    instants = [name for name, kind in schema.items() if kind == INSTANT]
    return frame.with_columns(pl.from_epoch(pl.col(instants), "us").dt.replace_time_zone("UTC")).sort("time"), seen


def _raw(kind: Any) -> Any:
    return pl.Int64 if kind == INSTANT else kind


def _flat(path: Path, start: int, line: bytes) -> dict[str, Any]:
    try:
        data = json.loads(line)
        nested = {name: data.pop(name) for name in ("keys", "request", "features", "event_us")}
        times = {f"{view}__event_timestamp": instant for view, instant in nested.pop("event_us").items()}
        statuses = {f"{view}__status": status for view, status in data.pop("status", {}).items()}
        data["time"] = data.pop("time_us")
    except (ValueError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} holds a damaged line at byte {start}: {error}; move the file away") from error
    return {**data, **{k: v for part in nested.values() for k, v in part.items()}, **times, **statuses}
