"""Answers while the online store is down: averaged over training rows, against missing features and against medians.

The deployed version scores held-out rows as the router does when nothing was read (serving.defaults), with every
feature missing, and with the training set's medians and most frequent values, as one would impute. Needs what
`make demo` leaves.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import log_loss, roc_auc_score

from assets.resources import platform_for
from benchmarks.report import conclude
from ml.models import model_named
from ml.scoring import feed, open_session
from ml.settings import Settings
from ml.split import Parts, split_rows
from serving.defaults import Defaults
from serving.model_repository import ModelRepository
from serving.plan import Plan

SPEC = model_named("flight_delay")
ROWS = 4_000


def main() -> None:
    """Measure and print. Raises LookupError if no model is deployed, or its version has no rows to answer with."""
    platform = platform_for(Settings())
    plan = ModelRepository(platform.settings.serving_home).deployed(SPEC.name)
    if plan is None or not plan.champion.defaults:
        raise LookupError(f"no version of {SPEC.name} with rows to answer with is deployed; run make demo")
    parts = split_rows(SPEC, platform.lake.read(f"{SPEC.name}/training_set").collect())
    asked = parts.test.sample(min(ROWS, parts.test.height), seed=7)
    truth = asked[SPEC.outcome.label].to_numpy()
    told = {name: _measured(name, truth, values) for name, values in _answers(plan, parts, asked).items()}
    ours, missing = told["averaged over training rows"], told["every feature missing"]
    conclude(
        "degraded_answers",
        missing[1] / ours[1],
        1.0,
        log_loss={name: round(one[1], 4) for name, one in told.items()},
        roc_auc={name: round(one[0], 4) for name, one in told.items()},
    )


def _answers(plan: Plan, parts: Parts[pl.DataFrame], asked: pl.DataFrame) -> dict[str, NDArray[np.float32]]:
    version = plan.champion
    session = open_session(Path(version.onnx), threads=1)
    types = {entry.name: entry.type for entry in session.get_inputs()}
    views = [field for field in version.inputs if field.view is not None]

    def score(feeds: dict[str, NDArray[np.generic]]) -> NDArray[np.float32]:
        return np.asarray(session.run([plan.output], feeds)[0][:, 0])

    missing = asked.with_columns(pl.lit(None).cast(asked.schema[f.column]).alias(f.column) for f in views)
    typical = missing.with_columns(
        pl.lit(_typical(parts.train[f.column])).cast(asked.schema[f.column], strict=False).alias(f.column)
        for f in views
        if f.kind != "time"
    )
    defaults, now = Defaults(Path(version.defaults), version.inputs), asked[SPEC.outcome.prediction_time]
    averaged = [
        defaults.mean(score(defaults.feeds(feed(types, missing[n : n + 1]), now[n].timestamp())))
        for n in range(asked.height)
    ]
    return {
        "all features read": score(feed(types, asked)),
        "averaged over training rows": np.concatenate(averaged),
        "every feature missing": score(feed(types, missing)),
        "medians and most frequent": score(feed(types, typical)),
    }


def _typical(column: pl.Series) -> object:
    if column.dtype == pl.String:
        return column.drop_nulls().mode().sort().first()
    return column.cast(pl.Float64).median()


def _measured(name: str, truth: NDArray[np.generic], values: NDArray[np.float32]) -> tuple[float, float]:
    auc, loss = float(roc_auc_score(truth, values)), float(log_loss(truth, np.clip(values, 1e-7, 1 - 1e-7)))
    print(f"{name:<30} ROC AUC {auc:.4f}  log loss {loss:.4f}  mean {values.mean():.4f} (of labels {truth.mean():.4f})")
    return auc, loss


if __name__ == "__main__":
    main()
