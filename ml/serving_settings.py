"""How a model is served: by what means, what callers may rely on, and by what a canary is judged."""

from typing import Literal

from pydantic import Field

from ml.frozen import Frozen, Share


class Slo(Frozen):
    """What callers may rely on, measured in Triton before a version serves."""

    p99_ms: float = Field(50.0, gt=0, description="99th percentile of the answer time of one row, in milliseconds.")


class CanaryBounds(Frozen):
    """By what a canary is judged against the champion, however often one looks (docs/rollout.md)."""

    alpha: float = Field(
        0.05, gt=0, lt=0.5, description="Chance, over all looks together, of a revert without any bound broken."
    )
    min_rows: int = Field(500, ge=100, description="Rows of the canary before anything is decided.")
    hours: float = Field(24.0, gt=0, description="Hours after which a canary that is not decided ends.")
    max_error_rate: float = Field(
        0.01, gt=0, lt=1, description="Share of the canary's rows that it may fail on (the champion answers these)."
    )
    max_latency_ratio: float = Field(
        2.0, gt=1, description="Its batches may take this many times as long as the champion's of their size."
    )
    max_mean_shift: float = Field(
        0.25, gt=0, description="How far its mean answer may lie from the champion's to the same rows, in deviations."
    )
    max_decile_shift: float = Field(
        0.15, gt=0, lt=1, description="Share of rows by which it may miss any decile of the champion's answers."
    )
    max_quality_loss: float = Field(
        0.05, gt=0, description="Share by which its loss may exceed the champion's, once labels have come."
    )
    min_labels: int = Field(
        0, ge=0, description="Rows with labels before it is promoted; 0: it does not wait, but labels can revert it."
    )


class ServingSettings(Frozen):
    """How the model is served."""

    mode: Literal["pooled", "own"] = Field("pooled", description="Inside the router, or a Triton model of its own.")
    deadline_ms: int = Field(100, gt=0, description="Deadline for reading online features, in milliseconds.")
    processes: int = Field(1, ge=1, description="Processes of the router that share the requests, one a busy core.")
    feature_cache_ms: int = Field(
        0, ge=0, description="Age up to which online rows that were read before may answer again; 0: they never do."
    )
    sticky_by: tuple[str, ...] = Field(
        (), description="Request fields by which a canary's or an A/B test's share is drawn; none: all join keys."
    )
    canary_share: Share = Field(
        0.0, description="Share of the keys that a new version answers first, as canary; 0: it is champion at once."
    )
    shadow_rows: int = Field(
        0, ge=0, description="Rows that a new version scores beside the champion before it answers anybody; 0: none."
    )
    sessions_mb: int = Field(
        1024, gt=0, description="Memory for open versions, in MiB; beyond it the least recently asked ones leave."
    )
    max_queue: int = Field(
        0,
        ge=0,
        description="Requests that may wait for the router; one more is refused, to be asked again. 0: all may.",
    )
    max_wait_ms: int = Field(
        1000,
        gt=0,
        description="Where there is a `max_queue`: longest wait of a request, in milliseconds; then it is refused.",
    )
    max_row_us: float = Field(
        50.0,
        gt=0,
        description="Budget of compute: microseconds of CPU a row, batch 256; 50: a core scores 20,000 rows/s.",
    )
    slo: Slo = Slo()
