"""The promotion gate: a candidate against absolute bounds and against the champion, on the same held-out rows."""

from typing import Any

import polars as pl
from numpy.typing import NDArray

from checks.outcome import Outcome
from ml.evaluation import Metrics, compare, evaluate
from ml.spec import ModelSpec

CHECK = "promotion"


def check_promotion(
    spec: ModelSpec, rows: pl.DataFrame, candidate: NDArray[Any], champion: NDArray[Any] | None
) -> Outcome:
    """Judge a candidate's probabilities [N] on the N held-out `rows` of a training set.

    `champion` holds the champion's probabilities on the same rows, None if there is no champion.
    Passes only if every rule does; each rule is a row of the outcome's table.
    """
    labels = rows[spec.outcome.label].to_numpy()
    metrics = evaluate(labels, candidate)
    rules = _absolute(spec, metrics)
    if champion is not None:
        rules.append(_against_champion(spec, rows, candidate, champion))
    failed = [rule for rule in rules if not rule["passed"]]
    summary = f"test ROC AUC {metrics.roc_auc:.4f}, calibration error {metrics.calibration_error:.4f}"
    summary += "; refused: " + "; ".join(str(rule["reason"]) for rule in failed) if failed else "; every rule holds"
    return Outcome(not failed, summary, {"metrics": metrics.as_dict(), "rules": rules}, tuple(rules))


def _absolute(spec: ModelSpec, metrics: Metrics) -> list[dict[str, Any]]:
    auc, gap, gates = metrics.roc_auc, metrics.calibration_error, spec.gates
    return [
        _rule(
            "ROC AUC is high enough",
            f"{auc:.4f}",
            f">= {gates.min_auc}",
            auc >= gates.min_auc,
            "too weak to be of use",
        ),
        _rule(
            "ROC AUC is believable",
            f"{auc:.4f}",
            f"<= {gates.max_auc}",
            auc <= gates.max_auc,
            "too good to be true: look for a feature known only after the question",
        ),
        _rule(
            "calibrated",
            f"{gap:.4f}",
            f"<= {gates.max_calibration_error}",
            gap <= gates.max_calibration_error,
            "its probabilities are not frequencies",
        ),
    ]


def _against_champion(
    spec: ModelSpec, rows: pl.DataFrame, candidate: NDArray[Any], champion: NDArray[Any]
) -> dict[str, Any]:
    """Better beyond noise: the paired bootstrap's interval of the AUC difference lies above zero.

    Whole days are drawn: flights of one day share their storm and are not independent.
    """
    days = rows[spec.outcome.prediction_time].dt.date().to_numpy()
    found = compare(rows[spec.outcome.label].to_numpy(), champion, candidate, days, confidence=spec.gates.confidence)
    seen = f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
    return _rule(
        "better than the champion",
        f"{seen} ROC AUC, champion {found.champion_auc:.4f}",
        f"{found.confidence:.0%} interval above 0",
        found.low > 0,
        f"not better than the champion beyond noise ({seen})",
    )


def _rule(name: str, observed: str, bound: str, passed: bool, why_not: str) -> dict[str, Any]:
    reason = "" if passed else f"{name}? observed {observed}, bound {bound}: {why_not}"
    return {"rule": name, "observed": observed, "bound": bound, "passed": bool(passed), "reason": reason}
