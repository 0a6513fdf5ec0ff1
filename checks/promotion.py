"""The promotion gate: a candidate against absolute bounds and against the champion, on the same held-out rows.

Here: the verdict, of all rules. Each group of rules has a file: promotion_rules, promotion_slices, model_file; the
evidence pack is written in promotion_evidence. Measured values come in as data.
"""

from dataclasses import dataclass

import polars as pl

from checks.contest import Contest
from checks.model_file import ModelFile, file_rules
from checks.outcome import Outcome
from checks.promotion_plot import draw
from checks.promotion_rules import Rule, absolute, against_champion, as_proven
from checks.promotion_slices import judge_slices, slice_rule

CHECK = "promotion"

_WORST = 10  # slices that the audit table keeps; the evidence pack has all


@dataclass(frozen=True)
class Judged:
    """A verdict and all that it rests on; `slices` and `importance` are empty where nothing could be measured."""

    outcome: Outcome
    slices: pl.DataFrame
    importance: pl.DataFrame


def check_promotion(contest: Contest, file: ModelFile) -> Judged:
    """Judge a candidate by its answers and its file. Passes only if every rule does, each a row of the table."""
    slices = judge_slices(contest)
    rules = [*absolute(contest), *against_champion(contest), *slice_rule(contest, slices), *as_proven(contest)]
    rules += file_rules(contest.spec, file)
    metrics = contest.metrics
    summary = f"test {contest.task.score_title} {metrics.score:.4f}, calibration error {metrics.calibration_error:.4f}"
    evidence = {
        "metrics": metrics.as_dict(),
        "rules": rules,
        "onnx_sha256": file.sha256,
        "row_us": file.row_us,
        "slices": slices.head(_WORST).to_dicts(),
        "importance": file.importance.head(_WORST).to_dicts(),
    }
    passed = all(rule["passed"] for rule in rules)
    outcome = Outcome(passed, f"{summary}; {_said(rules)}", evidence, _broken_first(rules), plot=draw(contest, slices))
    return Judged(outcome, slices, file.importance)


def refused(reason: str, onnx_sha256: str = "") -> Judged:
    """Return the refusal of a version that could not be judged at all."""
    return Judged(Outcome(False, reason, {"onnx_sha256": onnx_sha256}), pl.DataFrame(), pl.DataFrame())


def _said(rules: list[Rule]) -> str:
    reasons = [rule["reason"] for rule in rules if not rule["passed"]]
    return "refused: " + "; ".join(reasons) if reasons else "every rule holds"


def _broken_first(rules: list[Rule]) -> tuple[Rule, ...]:
    return tuple(sorted(rules, key=lambda rule: rule["passed"]))
