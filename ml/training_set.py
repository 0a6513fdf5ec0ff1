"""The rows a model learns from: outcomes with their label, and features as known when the model is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from ml.feature_store import historical_features
from ml.spec import ModelSpec

if TYPE_CHECKING:
    import feast


def build_training_set(spec: ModelSpec, outcomes: pl.DataFrame, store: feast.FeatureStore) -> pl.DataFrame:
    """Join a model's features to its labelled outcomes, as known at each row's prediction time.

    Args:
        spec: The model.
        outcomes: [outcomes, columns of the spec's outcome table]; rows without a label are left out.
        store: Feast's store; join keys are those of the views that the spec reads.

    Returns:
        [labelled outcomes, row id + join keys + request fields + prediction time + label + its instant +
        view__feature columns], in order of prediction time, then row id. Null where a value was not known.

    Raises:
        ValueError: outcomes lack a column, a row id stands twice, or a label has no instant.
    """
    outcome, keys = spec.outcome, _join_keys(spec, store)
    columns = [outcome.row_id, *keys, *[f.name for f in spec.request], outcome.prediction_time]
    columns = list(dict.fromkeys([*columns, outcome.label, outcome.label_timestamp]))
    missing = [column for column in columns if column not in outcomes.columns]
    if missing:
        raise ValueError(f"outcome table {outcome.table!r} of model {spec.name!r} has no column {missing}")
    rows = outcomes.select(columns).drop_nulls(outcome.label).sort(outcome.prediction_time, outcome.row_id)
    _refuse_bad_labels(spec, rows)
    moments = rows.select(*keys, pl.col(outcome.prediction_time).alias("event_timestamp"))
    features = historical_features(store, moments, spec.features)
    return rows.hstack(features.drop(moments.columns))


def _join_keys(spec: ModelSpec, store: feast.FeatureStore) -> list[str]:
    return list(dict.fromkeys(key for name in spec.views for key in store.get_feature_view(name).join_keys))


def _refuse_bad_labels(spec: ModelSpec, rows: pl.DataFrame) -> None:
    outcome = spec.outcome
    if rows[outcome.row_id].is_duplicated().any():
        doubled = rows.filter(pl.col(outcome.row_id).is_duplicated())[outcome.row_id][0]
        raise ValueError(f"outcome table {outcome.table!r} has row {doubled!r} more than once; keep one version a row")
    undated = rows.filter(pl.col(outcome.label_timestamp).is_null())
    if undated.height:
        raise ValueError(
            f"outcome table {outcome.table!r}: {undated.height} labels without {outcome.label_timestamp!r}, "
            f"such as row {undated[outcome.row_id][0]!r}; a label counts from the instant it became known"
        )
