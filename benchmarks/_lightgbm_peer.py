"""LightGBM on a training set's rows: the same inputs as the network's, tuned by Optuna within a budget of time.

It gets what the network's graph makes of raw values too: minutes of each `elapsed`, time of day and weekday of local
times. Validation rows stop the boosting, choose the settings and calibrate, as they do for the network.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.encoding import learn_encoding
from ml.spec import ModelSpec, column_of
from ml.split import Parts

ROUNDS, PATIENCE = 4000, 100
_DAY, _MINUTE = 86_400, 60


@dataclass(frozen=True)
class Peer:
    """A tuned LightGBM: its settings, how many trials found them, and probabilities [N] a seed of the test rows."""

    settings: dict[str, Any]
    trials: int
    seconds: float
    answers: list[NDArray[np.float64]] = field(default_factory=list)


def tuned_lightgbm(spec: ModelSpec, parts: Parts, minutes: float, seeds: int, say: Callable[[str], None]) -> Peer:
    """Tune on train and validation rows for `minutes`, then fit once a seed and answer the test rows."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    columns = _Columns(spec, parts.train)
    label = spec.outcome.label
    train, check, test = (columns.matrix(rows) for rows in (parts.train, parts.validation, parts.test))
    learn = (train, parts.train[label].to_numpy()), (check, parts.validation[label].to_numpy())
    started = time.monotonic()

    def objective(trial: optuna.Trial) -> float:
        loss = _boosted(_suggested(trial), *learn, columns.categories, seed=1).best_score["validation"][
            "binary_logloss"
        ]
        say(f"LightGBM trial {trial.number + 1}: validation log loss {loss:.5f}, {time.monotonic() - started:.0f} s")
        return loss

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1))
    study.enqueue_trial(_DEFAULTS)
    study.optimize(objective, timeout=minutes * 60)
    peer = Peer(study.best_params, len(study.trials), time.monotonic() - started)
    for seed in range(1, seeds + 1):
        booster = _boosted(peer.settings, *learn, columns.categories, seed)
        peer.answers.append(_calibrated(spec, booster, learn[1], test))
    return peer


_DEFAULTS = {
    "learning_rate": 0.05,
    "num_leaves": 63,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "lambda_l1": 0.01,
    "lambda_l2": 0.01,
    "cat_smooth": 10.0,
}


def _suggested(trial: Any) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.015, 0.15, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 15, 255, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 10, 1000, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.3, 1.0),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
        "lambda_l1": trial.suggest_float("lambda_l1", 1e-3, 20.0, log=True),
        "lambda_l2": trial.suggest_float("lambda_l2", 1e-3, 20.0, log=True),
        "cat_smooth": trial.suggest_float("cat_smooth", 1.0, 200.0, log=True),
    }


def _boosted(settings: dict[str, Any], train: tuple, check: tuple, categories: list[int], seed: int) -> Any:
    import lightgbm

    fixed = {"objective": "binary", "metric": "binary_logloss", "verbosity": -1, "bagging_freq": 1, "seed": seed}
    data = lightgbm.Dataset(train[0], train[1], categorical_feature=categories, free_raw_data=False)
    return lightgbm.train(
        {**fixed, **settings},
        data,
        num_boost_round=ROUNDS,
        valid_sets=[data.create_valid(*check)],
        valid_names=["validation"],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )


def _calibrated(spec: ModelSpec, booster: Any, check: tuple, test: NDArray) -> NDArray[np.float64]:
    """Calibrate as the network is, the same share of the shift kept."""
    import torch

    from ml.calibration import calibrate_logits

    raw = torch.from_numpy(booster.predict(check[0], raw_score=True))
    found = calibrate_logits(raw, torch.from_numpy(check[1]))
    logits = booster.predict(test, raw_score=True) * found.scale + found.shift * spec.training.shift_kept
    return 1 / (1 + np.exp(-logits))


class _Columns:
    """The network's inputs as LightGBM takes them: numbers, with categories as their index in the training rows."""

    def __init__(self, spec: ModelSpec, train: pl.DataFrame) -> None:
        self._spec = spec
        encoding = learn_encoding(spec, train)
        self._numbers = [scale.column for scale in encoding.numeric]
        self._vocabularies = {
            v.column: train[v.column].cast(pl.String).drop_nulls().unique().sort() for v in encoding.categorical
        }
        self._local_times = [entry.column for entry in encoding.local_times]
        self.categories = list(range(len(self._vocabularies)))

    def matrix(self, rows: pl.DataFrame) -> NDArray[np.float64]:
        """Return [N, columns], NaN where missing; categories come first."""
        indices = [
            pl.col(name).cast(pl.String).replace_strict(known, pl.arange(len(known), eager=True), default=None)
            for name, known in self._vocabularies.items()
        ]
        elapsed = [
            ((pl.col(entry.until) - pl.col(column_of(entry.since))) / _MINUTE).alias(entry.name)
            for entry in self._spec.elapsed
        ]
        hours = [(pl.col(name) % _DAY / _MINUTE).alias(f"{name}_minute") for name in self._local_times]
        weekdays = [(pl.col(name) // _DAY % 7).alias(f"{name}_weekday") for name in self._local_times]
        chosen = rows.select(*indices, *self._numbers, *elapsed, *hours, *weekdays)
        return chosen.cast(pl.Float64).fill_null(float("nan")).to_numpy()
