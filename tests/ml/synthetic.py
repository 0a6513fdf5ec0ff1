"""A small training set made up for any ModelSpec: the signal is in its first number and first category."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from ml.spec import Elapsed, Gates, ModelSpec, NetworkSettings, Outcome, RequestField, TrainingSettings, column_of
from ml.split_windows import Split, Window


def _day(month: int, day: int = 1) -> datetime:
    return datetime(2013, month, day, tzinfo=UTC)


SPEC = ModelSpec(
    name="lateness",
    description="A made-up model.",
    owner="team:tests",
    outcome=Outcome(table="outcomes", row_id="row_id", label="late", label_timestamp="label_timestamp"),
    features=("plane:delay", "plane:landed_at", "plane:last_dest", "weather:gust"),
    request=(
        RequestField(name="carrier", kind="categorical"),
        RequestField(name="distance", kind="numeric"),
        RequestField(name="departure", kind="time"),
        RequestField(name="departure_local", kind="local_time"),
    ),
    elapsed=(Elapsed(name="minutes_on_ground", since="plane:landed_at", until="departure"),),
    split=Split(
        train=Window(start=_day(1), end=_day(4)),
        validation=Window(start=_day(4), end=_day(5)),
        test=Window(start=_day(5), end=_day(6)),
    ),
    network=NetworkSettings(hidden=(16,), bins=8, min_category_count=5),
    training=TrainingSettings(epochs=4, batch_size=256, learning_rate=1e-2),
    gates=Gates(min_score=0.6, max_score=0.99),
)


def training_rows(spec: ModelSpec = SPEC, count: int = 4000, seed: int = 1) -> pl.DataFrame:
    """Return `count` labelled rows over the spec's three windows, a tenth of each feature missing."""
    random = np.random.default_rng(seed)
    start, end = spec.split.train.start, spec.split.test.end
    seconds = np.sort(random.integers(0, int((end - start).total_seconds()), count))
    asked = pl.Series([start + timedelta(seconds=int(s)) for s in seconds], dtype=pl.Datetime("us", "UTC"))
    epoch = asked.dt.epoch("s").to_numpy()
    signal = random.normal(size=count)
    columns: dict[str, pl.Series] = {
        spec.outcome.row_id: pl.Series([f"row-{index:06}" for index in range(count)]),
        spec.outcome.prediction_time: asked,
    }
    times = {column_of(elapsed.since) for elapsed in spec.elapsed}
    for name, kind in _inputs(spec, times):
        columns[name] = _values(kind, signal, epoch, random, missing=0.1 if "__" in name else 0.0)
        signal = signal if kind != "numeric" else random.normal(size=count)
    first = next(name for name, kind in _inputs(spec, times) if kind == "numeric")
    category = next(name for name, kind in _inputs(spec, times) if kind == "categorical")
    logit = 1.5 * columns[first].fill_null(0.0).to_numpy() + (columns[category].fill_null("") == "a").to_numpy() - 1
    label = (random.random(count) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    minutes = {name: pl.Series(20 * logit + random.normal(scale=15, size=count)) for name in spec.outcome.auxiliary}
    return pl.DataFrame({**columns, **minutes}).with_columns(
        pl.Series(spec.outcome.label, label),
        (pl.col(spec.outcome.prediction_time) + timedelta(hours=4)).alias(spec.outcome.label_timestamp),
    )


def _inputs(spec: ModelSpec, times: set[str]) -> list[tuple[str, str]]:
    features = [(column_of(reference), reference) for reference in spec.features]
    kinds = [
        (name, "past" if name in times else "categorical" if "dest" in reference else "numeric")
        for name, reference in features
    ]
    return kinds + [(field.name, field.kind) for field in spec.request]


def _values(kind: str, signal: np.ndarray, epoch: np.ndarray, random: np.random.Generator, missing: float) -> pl.Series:
    count = len(signal)
    if kind == "categorical":
        values = pl.Series(random.choice(["a", "b", "c"], count))
    elif kind == "numeric":
        values = pl.Series(signal)
    else:
        shift = {"past": -random.integers(600, 80_000, count), "local_time": 7200 - 5 * 3600}
        values = pl.Series(epoch + shift.get(kind, 7200)).cast(pl.Int64)
    return values.set(pl.Series(random.random(count) < missing), None)
