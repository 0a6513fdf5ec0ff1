"""The promotion gate: a candidate against absolute bounds and against the champion, on the same held-out rows."""

from typing import Any

import polars as pl
from numpy.typing import NDArray

from checks.outcome import Outcome
from ml.bootstrap import compare
from ml.spec import ModelSpec
from ml.task import Metrics, Task, days, task_of

CHECK = "promotion"


def check_promotion(
    spec: ModelSpec, rows: pl.DataFrame, candidate: NDArray[Any], champion: NDArray[Any] | None
) -> Outcome:
    """Judge a candidate's answers [N] on the N held-out `rows` of a training set.

    `champion` holds the champion's answers on the same rows, None if there is no champion.
    Passes only if every rule does; each rule is a row of the outcome's table.
    """
    task = task_of(spec)
    metrics = task.evaluate(rows[spec.outcome.label].to_numpy(), candidate)
    rules = _absolute(spec, task, metrics)
    if champion is not None:
        rules.append(_against_champion(spec, task, rows, candidate, champion))
    failed = [rule for rule in rules if not rule["passed"]]
    summary = f"test {task.score_title} {metrics.score:.4f}, calibration error {metrics.calibration_error:.4f}"
    summary += "; refused: " + "; ".join(str(rule["reason"]) for rule in failed) if failed else "; every rule holds"
    return Outcome(not failed, summary, {"metrics": metrics.as_dict(), "rules": rules}, tuple(rules))


def _absolute(spec: ModelSpec, task: Task, metrics: Metrics) -> list[dict[str, Any]]:
    score, gap, gates = metrics.score, metrics.calibration_error, spec.gates
    return [
        _rule(
            f"{task.score_title} is high enough",
            f"{score:.4f}",
            f">= {gates.min_score}",
            score >= gates.min_score,
            "too weak to be of use",
        ),
        _rule(
            f"{task.score_title} is believable",
            f"{score:.4f}",
            f"<= {gates.max_score}",
            score <= gates.max_score,
            "too good to be true: look for a feature known only after the question",
        ),
        _rule(
            "calibrated",
            f"{gap:.4f}",
            f"<= {gates.max_calibration_error}",
            gap <= gates.max_calibration_error,
            "its answers are not what happens on average",
        ),
    ]


def _against_champion(
    spec: ModelSpec, task: Task, rows: pl.DataFrame, candidate: NDArray[Any], champion: NDArray[Any]
) -> dict[str, Any]:
    """Better beyond noise: the paired bootstrap's interval of the difference in score lies above zero."""
    labels = rows[spec.outcome.label].to_numpy()
    old, new = (task.scorer(labels, answers) for answers in (champion, candidate))
    found = compare(old, new, rows.height, days(spec, rows), confidence=spec.gates.confidence)
    seen = f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
    return _rule(
        "better than the champion",
        f"{seen} {task.score_title}, champion {found.champion:.4f}",
        f"{found.confidence:.0%} interval above 0",
        found.low > 0,
        f"not better than the champion beyond noise ({seen})",
    )


def _rule(name: str, observed: str, bound: str, passed: bool, why_not: str) -> dict[str, Any]:
    reason = "" if passed else f"{name}? observed {observed}, bound {bound}: {why_not}"
    return {"rule": name, "observed": observed, "bound": bound, "passed": bool(passed), "reason": reason}
