"""How a model is looked after once it serves: what is watched, when it is trained anew, and who lets it answer.

Here: declarations only. What is watched is judged in `checks/monitoring_*.py`, when to retrain is decided in
`checks/retraining.py`, and a version's way into service is taken in `assets/trial.py`.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from ml.frozen import Frozen, Share

Signal = Literal["performance", "calibration", "novelty", "prediction_drift", "served_drift", "feature_drift"]
ApprovedStep = Literal["canary", "champion"]


class MonitoringSettings(Frozen):
    """What is asked of each window of answers, once its labels must have come (docs/loop.md)."""

    window_days: int = Field(7, gt=0, description="Days of answers that are judged together; windows begin on Mondays.")
    min_rows: int = Field(500, ge=50, description="Answers with labels without which a window is not judged.")
    max_score_drop: Share = Field(
        0.05, gt=0, description="How far the score may lie below that on the version's held-out rows, beyond noise."
    )
    max_recalibration_gain: Share = Field(
        0.01,
        gt=0,
        description="Share of the loss that a scale and shift learned on the windows before would have saved, beyond "
        "noise: more, and the version no longer knows how often it happens.",
    )
    max_prediction_distance: float = Field(
        0.3, gt=0, description="How far its answers may lie from those to its held-out rows (normed Wasserstein)."
    )
    max_drifted_share: Share = Field(
        0.2, gt=0, description="Share of the features served that may have left what the version learned from."
    )
    max_novel_share: Share = Field(
        0.2,
        gt=0,
        description="Share of answers for which one feature may lie where the version learned next to nothing: outside "
        "the central 99% of its training rows, or a name that it does not know.",
    )
    max_degraded_share: Share = Field(0.02, description="Share of answers given without some view.")


class RetrainingSettings(Frozen):
    """When a model is trained anew by itself, and on which rows (docs/loop.md)."""

    signals: tuple[Signal, ...] = Field(
        ("performance", "calibration", "novelty"), description="Checks on windows of answers that call for it."
    )
    breaches: int = Field(3, ge=1, description="So many of the newest `of` windows must be breached...")
    of: int = Field(4, ge=1, description="...of the same signal.")
    calm: int = Field(
        2, ge=1, description="Windows in a row without a breach after which a signal may call again: hysteresis."
    )
    cooldown_days: float = Field(
        28.0,
        ge=0,
        description="Days after a retraining in which none is started: the next one is compared with the champion on "
        "days that neither has learned from.",
    )
    budget: int = Field(6, ge=0, description="Retrainings in `budget_days`, at most; 0: never by itself.")
    budget_days: float = Field(365.0, gt=0)
    schedule: str = Field(
        "",
        description="Cron expression, in UTC, at whose times it is trained anew without any signal, if something that "
        "it reads was published since; empty: never.",
    )
    validation_days: int = Field(14, gt=0, description="Days before the held-out ones that stop and calibrate it.")
    held_out_days: int = Field(14, gt=0, description="The newest days, on which it is compared with the champion.")
    train_days: int = Field(0, ge=0, description="Days before these to learn from; 0: all there are.")
    refit: bool = Field(
        True,
        description="Whether a version, once measured on the held-out days, learns again with them before it is "
        "registered; false: it never sees its newest days.",
    )

    @model_validator(mode="after")
    def _k_of_n(self) -> Self:
        if self.breaches > self.of:
            raise ValueError(f"retraining asks for {self.breaches} breaches of {self.of} windows; that never happens")
        return self


class Approval(Frozen):
    """Which steps of a new version wait for a person, and whose word counts; none: all are automatic."""

    steps: tuple[ApprovedStep, ...] = ()
    by: tuple[str, ...] = Field((), description="Names of those who may approve, as the machine knows them.")

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if bool(self.steps) != bool(self.by):
            raise ValueError(
                f"approval of {list(self.steps)} by {list(self.by)}: name both the steps and those who approve, or none"
            )
        return self
