"""What a replayed year is compared with: the first model never trained again, and one trained blindly every month.

Both are scored offline on the rows that were served, from the features as known at each moment: the served answers of
the first version equal its offline ones, which is measured, too. A blind retraining learns as the loop's do, up to the
month's first day, and nothing judges it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.resources import Platform
from ml.device import choose_device
from ml.scoring import score
from ml.spec import ModelSpec
from ml.split import refit_cut, split_rows
from ml.training import fit
from ml.training_set import build_training_set

NEVER, MONTHLY, LOOP = "never retrained", "every month, blindly", "Headwater's loop"


@dataclass(frozen=True)
class Rival:
    """The answers [N] of one way to keep a model, and the seconds of each of its retrainings."""

    name: str
    answers: NDArray[np.float64]
    seconds: tuple[float, ...] = field(default=())


def offline_rows(platform: Platform, spec: ModelSpec) -> pl.DataFrame:
    """Return every labelled outcome that is published with its features as known at its prediction time."""
    names = [*spec.views, spec.outcome.table]
    sources = {name: platform.guard.admit_published(f"{spec.name}/replay", name) for name in names}
    outcomes = platform.lake.read(f"published/{spec.outcome.table}", sources[spec.outcome.table]).collect()
    return build_training_set(spec, outcomes, platform.feature_store(sources))


def never(platform: Platform, spec: ModelSpec, served: pl.DataFrame, first: str) -> Rival:
    """Return what the first version would have answered to the served rows [N]."""
    onnx = platform.registry.onnx_path(platform.registry.version(spec.name, first))
    return Rival(NEVER, score(onnx, served).astype(np.float64))


def monthly(
    platform: Platform,
    spec: ModelSpec,
    rows: pl.DataFrame,
    served: pl.DataFrame,
    first: str,
    months: Sequence[datetime],
    say: Callable[[str], None],
) -> Rival:
    """Return what models trained on the first day of each month would have answered to the served rows [N].

    `rows` are all labelled rows; the first of the `months` is answered by the version `first`, which was trained then.
    """
    asked, outcome = pl.col(spec.outcome.prediction_time), spec.outcome
    answers = never(platform, spec, served, first).answers.copy()
    seconds = []
    for start in months[1:]:
        known = rows.filter((asked < start) & (pl.col(outcome.label_timestamp) <= start))
        moved = spec.as_of(start)
        parts = split_rows(moved, known, refit_cut(moved))
        model = fit(moved, parts.train, parts.validation, choose_device("auto"), max_seconds=3600)
        seconds.append(model.seconds)
        later = served.select(asked >= start).to_series().to_numpy()
        answers[later] = model.predict(served.filter(asked >= start))
        say(f"{start:%Y-%m-%d}: learned from {parts.train.height:,} rows in {model.seconds:.0f} s")
    return Rival(MONTHLY, answers, tuple(seconds))
