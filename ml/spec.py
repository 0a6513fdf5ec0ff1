"""What a model is, as data. The rest of the repository is general; only `ml/models` holds instances.

Frozen, validated, unknown fields refused.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ml.fingerprint import json_hash
from ml.frozen import Frozen, Share
from ml.pod_resources import PodResources
from ml.serving_settings import CanaryBounds, ServingSettings
from ml.split_windows import Split as Split  # a model's file takes its parts from here
from ml.split_windows import Window as Window
from ml.upkeep import Approval, MonitoringSettings, RetrainingSettings

TaskName = Literal["binary", "regression"]


_RECIPE = {"task", "outcome", "features", "request", "elapsed", "network", "training"}


class Outcome(Frozen):
    """Where the rows to learn from come from: one row an entity and prediction time, with its label.

    `table` is a published feature-stage table (dbt model) that holds the entity keys, the request
    fields, `prediction_time`, the label and the instant at which the label became known.
    """

    table: str
    row_id: str = Field(description="Column that names a row uniquely, for people and for joins with outcomes.")
    label: str = Field(
        description="Column with 0 or 1 (binary) or a number (regression); null: no label, the row is not trained on."
    )
    label_timestamp: str = Field(
        "label_timestamp", description="Column with the instant at which the label became known (UTC)."
    )
    auxiliary: tuple[str, ...] = Field(
        (),
        description="Numbers that become known with the label and say more than it, such as the minutes behind a yes "
        "or no: learned beside the label, in training only; null is left out.",
    )
    prediction_time: str = "prediction_time"
    label_hours: float = Field(
        24.0,
        ge=0,
        description="Hours after the question by which a label has come: younger answers are not judged, for early "
        "labels are a selection (flights on time land first).",
    )


class RequestField(Frozen):
    """A value that the caller sends with the request, besides or as an entity key.

    Kinds: numeric; categorical (a string); time (UTC instant, seconds since the epoch); local_time
    (wall-clock time at the place of the event as seconds since 1970-01-01T00:00 on that wall clock,
    from which the network derives time of day and weekday).
    """

    name: str
    kind: Literal["numeric", "categorical", "time", "local_time"]


class Elapsed(Frozen):
    """A feature computed inside the network: minutes from one time value to another."""

    name: str
    since: str = Field(description="Feature reference or request field of a time, seconds since the epoch.")
    until: str = Field(description="Request field of kind time.")
    forecast: bool = Field(
        False, description="Whether `since` is an estimate of something to come, which may lie after the question."
    )


class NetworkSettings(Frozen):
    """Shape of the tabular network."""

    hidden: tuple[int, ...] = (256, 128)
    dropout: Share = 0.2
    embedding_size: int = Field(16, gt=0, description="Upper bound on a categorical embedding's width.")
    min_category_count: int = Field(20, ge=1, description="Rarer categories share the 'unknown' embedding.")
    auxiliary_weight: float = Field(1.0, ge=0, description="Weight of the loss of auxiliary numbers.")
    bins: int = Field(16, gt=0, description="Quantile bins of a number's piecewise linear encoding.")


class TrainingSettings(Frozen):
    """How the network is fitted."""

    epochs: int = Field(6, gt=0)
    batch_size: int = Field(1024, gt=0)
    learning_rate: float = Field(1e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    patience: int = Field(4, gt=0, description="Epochs without a better validation loss before stopping.")
    shift_kept: Share = Field(
        0.5, description="Share of the validation window's deviation in base rate that calibration keeps."
    )
    seed: int = 7
    resources: PodResources = Field(
        PodResources(),
        exclude=True,  # where it is learned is no part of what is: of no recipe, no checkpoint's identity, no version
        description="What training pods get on Kubernetes; nothing else looks at it.",
    )


class Gates(Frozen):
    """Bounds that a candidate must keep to be promoted."""

    min_score: Share = Field(
        0.6,
        description="A held-out score (ROC AUC, or R^2 of a regression) below this is refused even without a champion.",
    )
    max_score: Share = Field(0.95, description="A held-out score above this is a leak until proven otherwise.")
    max_feature_share: Share = Field(
        0.6, description="One feature that carries more of the score than this is a leak until proven otherwise."
    )
    max_calibration_error: Share = Field(
        0.05,
        description="Expected calibration error, 10 equal-mass bins; of a regression in deviations of the label.",
    )
    max_slice_loss: Share = Field(
        0.02, description="On no slice may the score be lower than the champion's by more than this, beyond noise."
    )
    confidence: Share = Field(0.95, description="Confidence of the paired bootstrap against the champion.")
    max_refresh_loss: Share = Field(
        0.01,
        description="A retraining with the champion's own recipe need not beat it, but is no worse: the score is not "
        "lower by more than this, the loss not higher beyond noise.",
    )
    max_feature_distance: float = Field(
        0.1,
        gt=0,
        description="A feature has drifted from this distance on (normed Wasserstein, or Jensen-Shannon).",
    )
    max_feature_ks: Share = Field(0.2, gt=0, description="Or from this Kolmogorov-Smirnov statistic on.")
    max_feature_psi: float = Field(0.25, gt=0, description="Or from this population stability index on.")
    max_missing_shift: Share = Field(0.05, gt=0, description="Or if its share of missing values moved by this much.")
    max_category_shift: Share = Field(
        0.05, gt=0, description="Or if this share of its values is new, or gone (names, and numbers of few values)."
    )
    max_drifted_share: Share = Field(
        0.5, description="From this share of drifted features on, the training set is not the world served."
    )
    seasonal_features: tuple[str, ...] = Field(
        (), description="Features left out of that drift gate: they move with the season by nature."
    )


class Costs(Frozen):
    """What wrong decisions cost, in one unit: from it follows the probability from which one acts.

    The threshold of least cost is chosen on validation rows and kept with the version.
    """

    action: str = Field(description="What is done at or above the threshold, in words.")
    false_alarm: float = Field(gt=0, description="Cost of acting where nothing happens.")
    miss: float = Field(gt=0, description="Cost of not acting where it happens.")
    unit: str = Field(description="Unit of both costs, such as dollars.")


class ModelSpec(Frozen):
    """One model: from it come training set, training, evaluation, gates, versions and deployment."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    description: str
    owner: str
    task: TaskName = "binary"
    outcome: Outcome
    features: tuple[str, ...] = Field(description="Feast references: view:feature.", min_length=1)
    request: tuple[RequestField, ...] = ()
    elapsed: tuple[Elapsed, ...] = ()
    split: Split
    network: NetworkSettings = NetworkSettings()
    training: TrainingSettings = TrainingSettings()
    slices: tuple[str, ...] = Field(
        (), description="Request fields to judge in parts: each category, or each hour of a local_time."
    )
    gates: Gates = Gates()
    costs: Costs | None = Field(None, description="What wrong decisions cost; only a binary model has a threshold.")
    serving: ServingSettings = ServingSettings()
    canary: CanaryBounds = CanaryBounds()
    monitoring: MonitoringSettings = MonitoringSettings()
    retraining: RetrainingSettings = RetrainingSettings()
    approval: Approval = Approval()
    limits: tuple[str, ...] = Field((), description="What its data does not hold, a sentence each; for the model card.")

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        sliceable = {f.name for f in self.request if f.kind in ("categorical", "local_time")}
        strangers = sorted(set(self.slices) - sliceable)
        if strangers:
            raise ValueError(
                f"model {self.name!r} slices by {strangers}; it can by its categorical and local_time request fields "
                f"{sorted(sliceable)}"
            )
        if self.costs is not None and self.task != "binary":
            raise ValueError(f"model {self.name!r} is a {self.task}: costs of a decision need a binary task")
        if self.gates.min_score >= self.gates.max_score:
            raise ValueError(f"gates of model {self.name!r}: min_score is not below max_score")
        return self

    @model_validator(mode="after")
    def _references_resolve(self) -> Self:
        for reference in self.features:
            if reference.count(":") != 1:
                raise ValueError(f"feature {reference!r} of model {self.name!r} is not of the form view:feature")
        columns = [column_of(reference) for reference in self.features] + [f.name for f in self.request]
        doubled = sorted({name for name in columns if columns.count(name) > 1})
        if doubled:
            raise ValueError(f"model {self.name!r} names {doubled} more than once")
        times = {f.name for f in self.request if f.kind == "time"}
        for elapsed in self.elapsed:
            if elapsed.until not in times or column_of(elapsed.since) not in columns:
                raise ValueError(
                    f"elapsed feature {elapsed.name!r} of model {self.name!r} needs `until` among the time "
                    f"request fields {sorted(times)} and `since` among its features or request fields"
                )
        return self

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the feature views it reads, in order of first use."""
        return tuple(dict.fromkeys(reference.split(":")[0] for reference in self.features))

    def as_of(self, moment: datetime) -> Self:
        """Return the same model with windows that end at `moment`: the newest days held out, before them validation.

        How long they are says `retraining`. Raises ValueError if nothing is left to learn from.
        """
        held_out = moment - timedelta(days=self.retraining.held_out_days)
        validation = held_out - timedelta(days=self.retraining.validation_days)
        days, start = self.retraining.train_days, self.split.train.start
        start = max(start, validation - timedelta(days=days)) if days else start
        if start >= validation:
            raise ValueError(
                f"model {self.name!r} as of {moment:%Y-%m-%d} has nothing to learn from: its rows begin "
                f"{start:%Y-%m-%d}, and those from {validation:%Y-%m-%d} on are for validation and comparison"
            )
        split = Split(
            train=Window(start=start, end=validation),
            validation=Window(start=validation, end=held_out),
            test=Window(start=held_out, end=moment),
        )
        return self.model_copy(update={"split": split})

    @property
    def recipe(self) -> str:
        """A hash of all that decides what is learned, but for the rows: two models of one recipe differ by these."""
        told = self.model_dump(mode="json", include=_RECIPE)
        return json_hash(told)[:16]

    def reading_only(self, views: Sequence[str]) -> Self:
        """Return the same model without the features of all other views, and what is measured from them."""
        features = tuple(name for name in self.features if name.split(":")[0] in views)
        known = {*features, *(field.name for field in self.request)}
        elapsed = tuple(entry for entry in self.elapsed if entry.since in known)
        return self.model_copy(update={"features": features, "elapsed": elapsed})


def column_of(reference: str) -> str:
    """Return a feature's column name in training sets, ONNX inputs and logs: view__feature."""
    return reference.replace(":", "__")
