"""How a window was served: answers given without some view, and the time that they took in the router."""

import polars as pl

from checks.monitoring_plot import daily
from checks.monitoring_window import Answers
from checks.outcome import Outcome
from ml.spec import ModelSpec

SERVING_HEALTH = "serving_health"


def check_serving_health(spec: ModelSpec, answers: Answers) -> Outcome:
    """Fail if more answers than the bound were degraded, or one in a hundred took longer than the spec's SLO.

    These are counts of what happened, not estimates: there is no noise to allow for.
    """
    rows, slo = answers.rows, spec.serving.slo.p99_ms
    degraded, allowed = float(rows["degraded"].cast(pl.Float64).to_numpy().mean()), spec.monitoring.max_degraded_share
    p99 = rows["taken_ms"].quantile(0.99, "nearest")
    slow = p99 is not None and p99 > slo
    shown = "unknown" if p99 is None else f"{p99:.3g} ms"
    summary = f"{degraded:.1%} of answers without some view (bound {allowed:.1%}); p99 {shown} (SLO {slo:g} ms)"
    evidence = {"degraded_share": degraded, "bound": allowed, "p99_ms": p99, "slo_ms": slo}
    by_day = rows.group_by(pl.col("time").dt.date().alias("day")).agg(
        pl.col("degraded").cast(pl.Float64).mean(), pl.col("taken_ms").quantile(0.99, "nearest")
    )
    return answers.outcome(degraded <= allowed and not slow, summary, evidence, daily(by_day.sort("day"), allowed, slo))
