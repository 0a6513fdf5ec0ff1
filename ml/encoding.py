"""What is learned from training rows about raw values: vocabularies, scales and quantiles.

Here: deriving an Encoding from a ModelSpec and rows, and turning rows into arrays by it. Not here:
anything that torch computes (ml/network.py) or that needs the label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.frozen import Frozen
from ml.spec import ModelSpec, column_of

InputKind = Literal["numeric", "categorical", "time"]

MISSING = 0  # index of a missing category ("" or null)
UNKNOWN = 1  # index shared by unseen and rare categories
FIRST_KNOWN = 2

DAY = 86_400.0  # seconds

_TAIL = 0.005  # values beyond these quantiles on either side are clipped


class Input(Frozen):
    """One raw value that the model reads: its column and what arrives there."""

    name: str
    kind: InputKind


class Vocabulary(Frozen):
    """The known values of a categorical column; known[i] has the index i + 2."""

    column: str
    known: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of indices, those of 'missing' and 'unknown' included."""
        return len(self.known) + FIRST_KNOWN


class Scale(Frozen):
    """Location, spread and quantile knots (ascending, distinct) of a numeric value's training rows."""

    column: str
    mean: float
    std: float
    knots: tuple[float, ...]


class LocalTime(Frozen):
    """A column of local times; `scale` describes its minute of the day."""

    column: str
    scale: Scale


class ElapsedColumn(Frozen):
    """Minutes between two time columns, log-scaled (`log_minutes`); `scale` describes the scaled value."""

    since: str
    until: str
    scale: Scale


class Encoding(Frozen):
    """All that is learned about raw values, in the order in which the network reads them."""

    inputs: tuple[Input, ...]
    categorical: tuple[Vocabulary, ...]
    numeric: tuple[Scale, ...]
    times: tuple[str, ...]
    local_times: tuple[LocalTime, ...]
    elapsed: tuple[ElapsedColumn, ...]


@dataclass(frozen=True)
class Arrays:
    """Rows as the network reads them.

    categorical: int64 [N, C] indices; numeric: float32 [N, K], NaN is missing;
    times: float64 [N, T] seconds, NaN is missing.
    """

    categorical: NDArray[np.int64]
    numeric: NDArray[np.float32]
    times: NDArray[np.float64]


def model_inputs(spec: ModelSpec, schema: pl.Schema) -> tuple[Input, ...]:
    """Return the model's inputs in the spec's order: features first, then request fields.

    A feature is a time if an `elapsed` names it as `since`, else its column type decides. Raises
    ValueError that names the column if it is missing or of a type that cannot be an input.
    """
    since = {column_of(elapsed.since) for elapsed in spec.elapsed}
    found = []
    for reference in spec.features:
        column = column_of(reference)
        kind = "time" if column in since else _kind_of_type(spec.name, column, schema)
        found.append(Input(name=column, kind=kind))
    for field in spec.request:
        found.append(Input(name=field.name, kind="time" if field.kind == "local_time" else field.kind))
    absent = [entry.name for entry in found if entry.name not in schema]
    if absent:
        raise ValueError(f"training set of model {spec.name!r} lacks {absent}; materialize it again from its spec")
    return tuple(found)


def learn_encoding(spec: ModelSpec, rows: pl.DataFrame) -> Encoding:
    """Learn vocabularies, scales and quantiles from the training rows alone.

    Raises ValueError that names the column if a value cannot be an input.
    """
    inputs = model_inputs(spec, rows.schema)
    settings = spec.network
    times = tuple(entry.name for entry in inputs if entry.kind == "time")
    return Encoding(
        inputs=inputs,
        categorical=tuple(
            _vocabulary(rows[entry.name], settings.min_category_count)
            for entry in inputs
            if entry.kind == "categorical"
        ),
        numeric=tuple(
            _scale(entry.name, _floats(rows[entry.name]), settings.bins) for entry in inputs if entry.kind == "numeric"
        ),
        times=times,
        local_times=tuple(
            LocalTime(column=field.name, scale=_minute_of_day(rows[field.name], settings.bins))
            for field in spec.request
            if field.kind == "local_time"
        ),
        elapsed=tuple(
            _elapsed(elapsed.name, column_of(elapsed.since), elapsed.until, rows, settings.bins)
            for elapsed in spec.elapsed
        ),
    )


def to_arrays(encoding: Encoding, rows: pl.DataFrame) -> Arrays:
    """Turn N rows into the arrays that the network reads."""
    categorical = [_indices(vocabulary, rows[vocabulary.column]) for vocabulary in encoding.categorical]
    numeric = [_floats(rows[scale.column]).astype(np.float32) for scale in encoding.numeric]
    times = [_floats(rows[column]) for column in encoding.times]
    return Arrays(
        categorical=_columns(categorical, rows.height, np.int64),
        numeric=_columns(numeric, rows.height, np.float32),
        times=_columns(times, rows.height, np.float64),
    )


def log_minutes(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale seconds to sign(m) * log(1 + |m|) of minutes m: fine near zero, coarse far away."""
    minutes = seconds / 60.0
    return np.sign(minutes) * np.log1p(np.abs(minutes))


def _kind_of_type(model: str, column: str, schema: pl.Schema) -> InputKind:
    if column not in schema:
        return "numeric"
    kind = schema[column]
    if kind == pl.String or isinstance(kind, pl.Categorical | pl.Enum):
        return "categorical"
    if kind.is_numeric() or kind == pl.Boolean:
        return "numeric"
    raise ValueError(
        f"feature {column!r} of model {model!r} has the type {kind}; give numbers, strings, or seconds since "
        "the epoch named by an `elapsed`"
    )


def _vocabulary(values: pl.Series, min_count: int) -> Vocabulary:
    counts = values.cast(pl.String).drop_nulls().value_counts(name="rows")
    frequent = counts.filter(pl.col("rows") >= min_count)[values.name]
    return Vocabulary(column=values.name, known=tuple(sorted(value for value in frequent if value != "")))


def _scale(column: str, values: NDArray[np.float64], bins: int) -> Scale:
    present = values[np.isfinite(values)]
    if present.size == 0:
        return Scale(column=column, mean=0.0, std=1.0, knots=())
    knots = np.unique(np.quantile(present, np.linspace(_TAIL, 1 - _TAIL, bins + 1)).astype(np.float32))
    clipped = np.clip(present, knots[0], knots[-1])
    return Scale(
        column=column,
        mean=float(clipped.mean()),
        std=float(clipped.std()) or 1.0,
        knots=tuple(float(knot) for knot in knots),
    )


def _minute_of_day(values: pl.Series, bins: int) -> Scale:
    return _scale(values.name, _floats(values) % DAY / 60, bins)


def _elapsed(name: str, since: str, until: str, rows: pl.DataFrame, bins: int) -> ElapsedColumn:
    scaled = log_minutes(_floats(rows[until]) - _floats(rows[since]))
    return ElapsedColumn(since=since, until=until, scale=_scale(name, scaled, bins))


def _indices(vocabulary: Vocabulary, values: pl.Series) -> NDArray[np.int64]:
    table = {value: index + FIRST_KNOWN for index, value in enumerate(vocabulary.known)} | {"": MISSING}
    text = values.cast(pl.String).fill_null("")
    return text.replace_strict(table, default=UNKNOWN, return_dtype=pl.Int64).to_numpy()


def _floats(values: pl.Series) -> NDArray[np.float64]:
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _columns(columns: Sequence[NDArray], height: int, kind: type) -> NDArray:
    return np.stack(columns, axis=1).astype(kind) if columns else np.empty((height, 0), dtype=kind)
