"""Rows made up for any ModelSpec, shaped like its training set: for benchmarks where no home is."""

import numpy as np
import polars as pl

from ml.spec import ModelSpec, column_of


def made_up_rows(spec: ModelSpec, count: int, seed: int = 1) -> pl.DataFrame:
    """Return `count` labelled rows over the spec's windows; a tenth of the features is missing."""
    random = np.random.default_rng(seed)
    start, end = spec.split.train.start.timestamp(), spec.split.test.end.timestamp()
    asked = np.sort(random.uniform(start, end, count)).astype(np.int64)
    since = {column_of(elapsed.since) for elapsed in spec.elapsed}
    columns = {column_of(reference): None for reference in spec.features}
    kinds = {name: "time" if name in since else "categorical" if "dest" in name else "numeric" for name in columns}
    kinds |= {field.name: field.kind for field in spec.request}
    values = {}
    for name, kind in kinds.items():
        made = {
            "categorical": lambda: pl.Series(random.choice([f"name {n}" for n in range(50)], count)),
            "numeric": lambda: pl.Series(random.normal(size=count)),
        }.get(kind, lambda: pl.Series(asked - random.integers(600, 80_000, count)))()
        values[name] = made if name not in columns else made.set(pl.Series(random.random(count) < 0.1), None)
    outcome = spec.outcome
    moment = pl.from_epoch(pl.Series(asked), "s").cast(pl.Datetime("us", "UTC"))
    return pl.DataFrame(values).with_columns(
        pl.Series(outcome.row_id, [f"row-{n}" for n in range(count)]),
        moment.alias(outcome.prediction_time),
        moment.alias(outcome.label_timestamp),
        pl.Series(outcome.label, (random.random(count) < 0.2).astype(np.int64)),
        *(pl.Series(name, random.normal(size=count)) for name in outcome.auxiliary),
    )
