"""The promotion gate's rules on the score: absolute bounds, and better than the champion beyond noise.

Here also: what a rule is, a row of the verdict's table. Slices are in checks/promotion_slices.py, what concerns the
ONNX file in checks/model_file.py.
"""

from typing import Any

from numpy.typing import NDArray

from checks.contest import Contest
from ml.bootstrap import Difference, compare, interval

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

    Better: the paired bootstrap's interval of the difference in score, whole days drawn, lies above zero; or that of
    the difference in loss below zero, and the score is no lower. A champion that has lost its calibration still has
    its order, and only the loss sees what a newer model is worth. The champion's own recipe on newer rows (a refresh)
    has that in its favour, and must only not be worse.
    """
    name, gates = "better than the champion", contest.spec.gates
    bound = f"{gates.confidence:.0%} interval above 0, or that of the loss below 0 and the score no lower"
    if contest.refresh:
        name, margin = "no worse than the champion", gates.max_refresh_loss
        bound = f"{gates.confidence:.0%} interval above -{margin:g}, that of the loss not above 0"
    if contest.trouble:
        return [rule(name, "no comparison", bound, False, contest.trouble)]
    if contest.champion is None:
        return []
    task = contest.task
    score = _difference(contest, task.score, (contest.champion, contest.candidate))
    loss = _difference(contest, task.loss_metric, (contest.champion, contest.candidate))
    seen = f"{_span(score)} {task.score_title}, {_span(loss)} {task.loss_metric.replace('_', ' ')}"
    better = score.low > 0 or (loss.high < 0 and score.difference >= 0)
    if contest.refresh:
        better = better or (score.low > -gates.max_refresh_loss and loss.low <= 0)
    champion = f"champion {score.champion:.4f} and {loss.champion:.4f}"
    why_not = f"it may be worse ({seen})" if contest.refresh else f"not {name} beyond noise ({seen})"
    return [rule(name, f"{seen}, {champion}", bound, better, why_not)]


def as_proven(contest: Contest) -> list[Rule]:
    """Return the rule that a graph that has learned again answers as well as the one that was measured; none without.

    On the held-out rows, which have calibrated it and stopped it, but which it has not learned from.
    """
    if contest.refit is None:
        return []
    bound = contest.spec.gates.max_refresh_loss
    found = _difference(contest, contest.task.score, (contest.candidate, contest.refit))
    why_not = "it did not learn what its proof did"
    name, seen = "refit answers as its proof", f"{_span(found)} {contest.task.score_title}"
    return [rule(name, seen, f"interval not wholly below -{bound:g}", found.high >= -bound, why_not)]


def _difference(contest: Contest, metric: str, answers: tuple[NDArray[Any], NDArray[Any]]) -> Difference:
    old, new = (contest.task.scorers(contest.labels, each)[metric] for each in answers)
    return compare(old, new, contest.rows.height, contest.days, confidence=contest.spec.gates.confidence)


def _span(found: Difference) -> str:
    return f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
