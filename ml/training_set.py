"""The rows a model learns from: outcomes with their label, and features as known when the model is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import polars as pl

from ml import remedies
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
        auxiliary numbers + view__feature columns], in order of prediction time, then row id. Null where a value was
        not known.

    Raises:
        LookupError: the spec names a feature view or a feature that is not there.
        ValueError: outcomes lack a column, a row id stands twice, or a label has no instant.
    """
    with _named_features(spec):
        outcome, keys = spec.outcome, _join_keys(spec, store)
    columns = [outcome.row_id, *keys, *[f.name for f in spec.request], outcome.prediction_time]
    columns = list(dict.fromkeys([*columns, outcome.label, outcome.label_timestamp, *outcome.auxiliary]))
    missing = [column for column in columns if column not in outcomes.columns]
    if missing:
        raise ValueError(f"outcome table {outcome.table!r} of model {spec.name!r} has no column {missing}")
    rows = outcomes.select(columns).drop_nulls(outcome.label).sort(outcome.prediction_time, outcome.row_id)
    _refuse_bad_labels(spec, rows)
    moments = rows.select(*keys, pl.col(outcome.prediction_time).alias("event_timestamp"))
    with _named_features(spec):
        features = historical_features(store, moments, spec.features)
    return rows.hstack(features.drop(moments.columns))


@contextmanager
def _named_features(spec: ModelSpec) -> Iterator[None]:
    """Say which model asks, and what to do, where Feast says that a view or a feature is not there."""
    from feast.errors import FeastObjectNotFoundException

    try:
        yield
    except (FeastObjectNotFoundException, KeyError) as error:
        raise LookupError(
            f"model {spec.name!r} reads a feature that is not there: {error.args[0]}; correct `features` in "
            f"ml/models/{spec.name}.py, or declare it in dbt_project/models/features and {remedies.declare()}"
        ) from error


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
