"""How a window's answers are distributed, against the version's answers to its held-out rows: needs no label."""

import polars as pl

from checks.drift_plot import plot
from checks.drift_profile import profile_of
from checks.drift_statistics import compare
from checks.monitoring_window import Answers, HeldOut
from checks.outcome import Outcome
from ml.spec import ModelSpec

PREDICTION_DRIFT = "prediction_drift"


def check_prediction_drift(spec: ModelSpec, answers: Answers, held: HeldOut) -> Outcome:
    """Fail if the answers moved by the bound (Wasserstein over held-out answers' deviation) and more than by chance.

    Answers of few different values are compared by Jensen-Shannon, as everywhere (`drift_statistics`).
    """
    old, new = profile_of(held.rows["answer"]), profile_of(answers.whole["answer"])
    found = compare(old, new)
    bound = max(spec.monitoring.max_prediction_distance, found.noise.distance)
    passed = found.distance < bound
    means = [float(rows["answer"].cast(pl.Float64).to_numpy().mean()) for rows in (held.rows, answers.whole)]
    summary = (
        f"answers lie {found.distance:.2f} from those to held-out rows (bound {bound:.2g}); mean {means[0]:.4g}, "
        f"now {means[1]:.4g}"
    )
    evidence = {
        "distance": found.distance,
        "method": found.method,
        "ks": found.ks,
        "psi": found.psi,
        "bound": bound,
        "mean_held_out": means[0],
        "mean_answer": means[1],
    }
    title = "answers, held out and now"
    return answers.outcome(passed, summary, evidence, plot("answer", title, ("held out", "window"), old, new))
