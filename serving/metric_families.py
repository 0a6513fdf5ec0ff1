"""The router's metrics: their names, kinds, labels and what they mean. Counting is in `tally`.

Every series has the labels `model` and `process` too. docs/reference.md is written from here.
"""

from typing import Literal, NamedTuple

SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
INFINITE = float("inf")
AGES = (60.0, 600.0, 3_600.0, 21_600.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0)


class Family(NamedTuple):
    """One metric; a `counter` is told by how much it grew, a `gauge` its value.

    A histogram is three counters, `_bucket` (with the label `le`), `_sum` and `_count`: Triton's own histogram takes
    a call for each observation, which costs more than answering a row.
    """

    kind: Literal["counter", "gauge"]
    labels: tuple[str, ...]
    told: str


class Histogram(NamedTuple):
    """A distribution over buckets with these upper bounds, and one without bound."""

    bounds: tuple[float, ...]
    labels: tuple[str, ...]
    told: str


VERSION = ("version", "variant")


def le(bound: float) -> str:
    """Return the label of a bucket."""
    return "+Inf" if bound == INFINITE else f"{bound:g}"


HISTOGRAMS = {
    "headwater_router_answer_seconds": Histogram(
        SECONDS, VERSION, "Seconds of the router from a request's tensors to its answer; of a shadow, for its batch."
    ),
    "headwater_router_feature_age_seconds": Histogram(
        AGES, ("view",), "Seconds since the event of the view's row that was read, by the platform's clock."
    ),
}
FAMILIES = {
    "headwater_router_batches_total": Family("counter", (), "Batches of requests that were worked on."),
    "headwater_router_stage_seconds_total": Family(
        "counter",
        ("stage",),
        "Seconds of batches in a stage: parse (inputs, keys), read (online features), score, answer, log.",
    ),
    "headwater_router_requests_total": Family(
        "counter", VERSION, "Requests answered; one whose rows went to two versions counts for both."
    ),
    "headwater_router_rows_total": Family("counter", VERSION, "Rows answered; of a shadow, rows scored."),
    "headwater_router_failed_rows_total": Family(
        "counter",
        VERSION,
        "Rows that a version beside the champion failed on: the champion answered, or, of a shadow, nobody had them.",
    ),
    "headwater_router_errors_total": Family(
        "counter", ("kind",), "Requests without an answer, by whose fault: request or model."
    ),
    "headwater_router_probes_total": Family(
        "counter", ("outcome",), "Probes, answered or failed; they count nowhere else."
    ),
    "headwater_router_degraded_rows_total": Family(
        "counter", (), "Rows answered without some view that their version reads."
    ),
    "headwater_router_view_rows_total": Family(
        "counter", ("view", "status"), "Rows whose version reads a view, by what became of its features."
    ),
    "headwater_router_log_dropped_frames_total": Family("counter", (), "Frames that the prediction log refused."),
    "headwater_router_shadow_batches_left_out_total": Family(
        "counter", (), "Batches that shadows were too slow to score."
    ),
    "headwater_router_log_waiting_bytes": Family("gauge", (), "Bytes that the prediction log has not on disk yet."),
    "headwater_router_log_capacity_bytes": Family("gauge", (), "Bytes that may wait before frames are dropped."),
    "headwater_router_plan_revision": Family("gauge", (), "The revision of the plan that answers."),
    "headwater_router_open_sessions": Family("gauge", (), "ONNX graphs held open."),
    "headwater_router_open_sessions_bytes": Family("gauge", (), "Bytes that those take."),
    "headwater_router_alive_timestamp_seconds": Family(
        "gauge", (), "Until when the process told what it did, in seconds since the epoch; a dead one's stands still."
    ),
}
for _name, _histogram in HISTOGRAMS.items():
    FAMILIES[f"{_name}_bucket"] = Family("counter", (*_histogram.labels, "le"), _histogram.told)
    FAMILIES[f"{_name}_sum"] = Family("counter", _histogram.labels, _histogram.told)
    FAMILIES[f"{_name}_count"] = Family("counter", _histogram.labels, _histogram.told)
del _name, _histogram
