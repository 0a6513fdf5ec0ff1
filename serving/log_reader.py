"""Reads new predictions from the prediction log into polars. Platform side; writing them is in `prediction_log`.

A column each: prediction_id, time, model, model_version, variant, answered (False for a shadow's row, or for one of a
version that failed: then the row of the same id that is True is what the caller got), revision, the output (probability
or value), degraded, the join keys and request fields by name, every feature as view__feature, each view's row time as
view__event_timestamp, and as view__status whether it was there, and why not; taken_ms, how long the batch took in the
router.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from serving.log_frames import ID_BYTES, NEVER, Batch, Frame, LogSchema, decode, frames, parse_schema
from serving.log_spool import LOG_SUFFIX, recover
from serving.online_features import NOT_READ, STATUSES
from serving.plan import Plan

INSTANT = pl.Datetime("us", "UTC")

_BASE: dict[str, Any] = {
    "prediction_id": pl.String,
    "time": INSTANT,
    "model": pl.String,
    "model_version": pl.String,
    "variant": pl.String,
    "answered": pl.Boolean,
    "revision": pl.Int64,
}
_KINDS: dict[str, Any] = {"float": pl.Float64, "int": pl.Int64, "string": pl.String, "bool": pl.Boolean}


def log_schema(plan: Plan) -> dict[str, Any]:
    """Return name and polars type of every column that predictions of any version of the plan have."""
    found: dict[str, Any] = {}
    for arm in reversed(plan.lineup):
        found = {**_columns(plan.log_schema(arm)), **found}
    return found


def _columns(schema: LogSchema) -> dict[str, Any]:
    return {
        **_BASE,
        schema.output: pl.Float64,
        "degraded": pl.Boolean,
        "taken_ms": pl.Float64,
        **{name: _KINDS[kind] for name, kind in schema.numbers},
        **dict.fromkeys(schema.texts, pl.String),
        **{name: _KINDS[kind] for name, kind in schema.features},
        **dict.fromkeys(schema.text_features, pl.String),
        **{f"{view}__event_timestamp": INSTANT for view in schema.views},
        **{f"{view}__status": pl.String for view in schema.views},
    }


def read_new(
    folder: Path, wanted: Mapping[str, Any], cursor: Mapping[str, int] | None = None
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the predictions behind `cursor` in time order, and the cursor for the next call.

    The cursor maps file name to bytes read (JSON-safe; None reads all). `wanted` comes from `log_schema`; a column
    that a prediction lacks is null, one that is not wanted is left out. A half-written last frame stays for the next
    call; what killed writers left in their rings is drained first. Raises ValueError naming file and byte for a
    damaged frame, LookupError for one whose schema is not there.
    """
    recover(folder)
    seen = dict(cursor or {})
    found: dict[bytes, list[Frame]] = {}
    for path in sorted(folder.glob(f"*{LOG_SUFFIX}")):
        start = seen.get(path.name, 0)
        with path.open("rb") as file:
            file.seek(start)
            data = file.read()
        for frame in frames(data, start, str(path)):
            found.setdefault(frame.digest, []).append(frame)
            seen[path.name] = frame.place + len(frame.data)
    parts = [_table(_schema(folder, digest), some) for digest, some in found.items()]
    empty = pl.DataFrame(schema=dict(wanted))
    return pl.concat([empty, *(_only(part, wanted) for part in parts)], how="diagonal").sort("time"), seen


def find(folder: Path, prediction_id: str) -> tuple[pl.DataFrame, list[str]]:
    """Return the rows of one prediction, all columns of its schema, and what in the log could not be read.

    There are several rows of an id if other versions scored it too (`answered` is False for theirs), none if the log
    does not hold it. Only frames that hold the id are decoded.
    """
    wanted, found, damage = bytes.fromhex(prediction_id), list[pl.DataFrame](), list[str]()
    recover(folder)
    for path in sorted(folder.glob(f"*{LOG_SUFFIX}")):
        try:
            data = path.read_bytes()
            for frame in frames(data, 0, str(path)):
                if wanted in bytes(frame.data):
                    found.append(_table(_schema(folder, frame.digest), [frame]))
        except (OSError, ValueError, LookupError) as error:
            damage.append(str(error))
    parts = [part.filter(pl.col("prediction_id") == prediction_id) for part in found]
    return (pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()), damage


def _schema(folder: Path, digest: bytes) -> LogSchema:
    path = folder / f"{digest.hex()}.schema.json"
    try:
        return parse_schema(path.read_text())
    except (OSError, ValueError) as error:
        raise LookupError(f"{path}, by which predictions are read, is missing or damaged: {error}") from error


def _table(schema: LogSchema, some: Sequence[Frame]) -> pl.DataFrame:
    """Return the rows of frames of one schema."""
    batches = [decode(schema, frame) for frame in some]
    rows = [len(batch.value) for batch in batches]
    event_us, status, numbers, features = (
        np.concatenate([getattr(batch, name) for batch in batches], axis=1)
        for name in ("event_us", "status", "numbers", "features")
    )
    columns: dict[str, Any] = {
        "prediction_id": _ids(batches),
        "time": np.repeat([batch.time_us for batch in batches], rows),
        "model": [schema.model] * sum(rows),
        "model_version": [schema.model_version] * sum(rows),
        "variant": [schema.variant] * sum(rows),
        "answered": [schema.answered] * sum(rows),
        "revision": np.full(sum(rows), schema.revision),
        schema.output: np.concatenate([batch.value for batch in batches]).astype(np.float64),
        "degraded": (status == NOT_READ).any(axis=0),
        "taken_ms": np.repeat([batch.taken_us / 1e3 for batch in batches], rows),
        **{name: values for (name, _), values in zip(schema.numbers, numbers, strict=True)},
        **{name: values for (name, _), values in zip(schema.features, features, strict=True)},
        **{f"{view}__event_timestamp": values for view, values in zip(schema.views, event_us, strict=True)},
        **{f"{view}__status": np.take(STATUSES, codes) for view, codes in zip(schema.views, status, strict=True)},
    }
    for place, name in enumerate((*schema.texts, *schema.text_features)):
        columns[name] = [text for batch in batches for text in batch.texts[place]]
    return _typed(pl.DataFrame(columns), _columns(schema))


def _ids(batches: Sequence[Batch]) -> list[str]:
    text = b"".join(batch.ids for batch in batches).hex()
    return [text[start : start + 2 * ID_BYTES] for start in range(0, len(text), 2 * ID_BYTES)]


def _typed(frame: pl.DataFrame, types: Mapping[str, Any]) -> pl.DataFrame:
    """Return the columns with their types, and null where a number is NaN or an instant NEVER."""
    exprs = []
    for name, kind in types.items():
        column = pl.col(name)
        if frame.schema[name] == pl.Float64 and name in types:
            column = column.fill_nan(None)
        if kind == INSTANT:
            known = pl.when(column != NEVER).then(column)
            column = pl.from_epoch(known, "us").dt.replace_time_zone("UTC")
        exprs.append(column.cast(kind, strict=kind != pl.Int64).alias(name))
    return frame.select(exprs)


def _only(frame: pl.DataFrame, wanted: Mapping[str, Any]) -> pl.DataFrame:
    return frame.select(pl.col(name).cast(kind) for name, kind in wanted.items() if name in frame.columns)
