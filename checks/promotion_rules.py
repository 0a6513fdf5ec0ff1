"""The promotion gate's rules on the score: absolute bounds, and better than the champion beyond noise.

Here also: what a rule is, a row of the verdict's table. Slices are in checks/promotion_slices.py, what concerns the
ONNX file in checks/model_file.py.
"""

from typing import Any

from checks.contest import Contest
from ml.bootstrap import compare, interval

Rule = dict[str, Any]  # rule, observed, bound, passed, reason


def rule(name: str, observed: str, bound: str, passed: bool, why_not: str) -> Rule:
    """Return a row of the verdict's table; `why_not` is the reason given if it did not pass."""
    reason = "" if passed else f"{name}? observed {observed}, bound {bound}: {why_not}"
    return {"rule": name, "observed": observed, "bound": bound, "passed": bool(passed), "reason": reason}


def absolute(contest: Contest) -> list[Rule]:
    """Return the rules that hold for any candidate: of use, believable, calibrated."""
    gates, title = contest.spec.gates, contest.task.score_title
    value, gap = contest.metrics.score, contest.metrics.calibration_error
    of = interval(contest.scorer(contest.candidate), contest.rows.height, contest.days, confidence=gates.confidence)
    seen = f"{value:.4f} [{of.low:.4f}, {of.high:.4f}]"
    return [
        rule(
            f"{title} is high enough",
            seen,
            f">= {gates.min_score}",
            value >= gates.min_score,
            "too weak to be of use",
        ),
        rule(
            f"{title} is believable",
            seen,
            f"<= {gates.max_score}",
            value <= gates.max_score,
            "too good to be true: look for a feature known only after the question",
        ),
        rule(
            "calibrated",
            f"{gap:.4f}",
            f"<= {gates.max_calibration_error}",
            gap <= gates.max_calibration_error,
            "its answers are not what happens on average",
        ),
    ]


def against_champion(contest: Contest) -> list[Rule]:
    """Return the rule that the candidate is better beyond noise; none without a champion.

    Better: the paired bootstrap's interval of the difference in score, whole days drawn, lies above zero.
    """
    name, gates = "better than the champion", contest.spec.gates
    bound = f"{gates.confidence:.0%} interval above 0"
    if contest.trouble:
        return [rule(name, "no comparison", bound, False, contest.trouble)]
    if contest.champion is None:
        return []
    old, new = (contest.scorer(answers) for answers in (contest.champion, contest.candidate))
    found = compare(old, new, contest.rows.height, contest.days, confidence=gates.confidence)
    seen = f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
    return [
        rule(
            name,
            f"{seen} {contest.task.score_title}, champion {found.champion:.4f}",
            bound,
            found.low > 0,
            f"not better than the champion beyond noise ({seen})",
        )
    ]
