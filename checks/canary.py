"""The canary's judge: against the champion on the rows since it began, at any time and as often as one likes.

Four questions, each a test that holds over all looks together (`sequential`): does it fail, is it slow, does it answer
otherwise, is it worse. Not here: where the rows come from (`canary_rows`), and what follows (assets/trial.py).
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from checks.canary_plot import draw
from checks.canary_rows import Seen
from checks.outcome import Outcome
from checks.sequential import margin, mean_and_spread, rate_evidence
from ml.serving_settings import CanaryBounds

CHECK = "canary"
Decision = Literal["promote", "revert", "continue"]
State = Literal["holds", "broken", "open"]

_QUESTIONS = 4  # each has its part of alpha for reverting
_BATCHES = 100
_FAR = 4  # times the bound: so far off is nothing that a newer model of the same thing answers
_SIDES = 20  # of the third: the mean and nine deciles, up and down


@dataclass(frozen=True)
class CanaryRule:
    """One question and its answer so far. `low` and `high` hold the truth, at all looks; `open`: not known yet."""

    rule: str
    observed: float
    low: float
    high: float
    bound: float
    rows: int
    state: State
    reason: str = ""

    @property
    def line(self) -> dict[str, Any]:
        """The rule as a row of the verdict's table."""
        seen = f"{self.observed:.4g} [{self.low:.4g}, {self.high:.4g}]" if self.rows else "nothing yet"
        return {
            "rule": self.rule,
            "observed": seen,
            "bound": f"<= {self.bound:g}",
            "rows": self.rows,
            "verdict": self.state,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class CanaryVerdict:
    """What to do with the canary, and the outcome that says why."""

    decision: Decision
    outcome: Outcome


def judge_canary(bounds: CanaryBounds, seen: Seen, hours: float, stale: bool = False) -> CanaryVerdict:
    """Judge a canary that has served for so many hours.

    `revert` if one bound is broken: the parts of alpha add up to alpha over all rules and looks. `promote` if every
    one is known to hold, each at alpha: wrongly only if the broken one is missed, so these need not add up (Berger,
    Technometrics 24, 1982). Of a champion that is known to be `stale` other answers are wanted: labels decide whether
    they are worse, unless they are very far off. Otherwise `continue`, and after `bounds.hours` `revert`, for want of
    a decision.
    """
    answers, quality = _answers(bounds, seen), _quality(bounds, seen)
    answers = [_against_stale(rule, bounds, seen, quality) for rule in answers] if stale else answers
    rules = [_errors(bounds, seen), _latency(bounds, seen), *answers, quality]
    rows = len(seen.failed)
    if rows < bounds.min_rows:
        why = f"{rows} of at least {bounds.min_rows} rows"
        rules = [replace(rule, state="open", reason=why) for rule in rules]
    decision, told = _decision(rules)
    if decision == "continue" and hours >= bounds.hours:
        decision, told = "revert", f"not decided in {bounds.hours:g} hours: {told}"
    summary = f"{decision} after {rows} rows and {hours:.1f} hours: {told}"
    evidence = {"decision": decision, "rows": rows, "hours": round(hours, 2), "rules": [rule.line for rule in rules]}
    evidence["faulty"] = any(rule.state == "broken" for rule in rules)
    order: dict[State, int] = {"broken": 0, "open": 1, "holds": 2}
    table = tuple(rule.line for rule in sorted(rules, key=lambda rule: order[rule.state]))
    plot = None if decision == "continue" else draw(rules, seen)  # one looks every minute, and at that once
    return CanaryVerdict(decision, Outcome(decision == "promote", summary, evidence, table, plot=plot))


def unjudged(bounds: CanaryBounds, why: str, hours: float) -> CanaryVerdict:
    """Return the verdict on a canary of which nothing can be known: it goes on until `bounds.hours`, then it ends.

    Nobody may answer for longer than that without being judged, and that it could not be is not its fault.
    """
    decision: Decision = "revert" if hours >= bounds.hours else "continue"
    summary = f"{decision} after {hours:.1f} hours: it could not be judged: {why}"
    if decision == "continue":
        summary += f"; it ends after {bounds.hours:g} hours unless it can"
    rule = CanaryRule("can be judged", 0.0, 0.0, 0.0, 0.0, 0, "open", why)
    evidence = {"decision": decision, "rows": 0, "hours": round(hours, 2), "rules": [rule.line], "faulty": False}
    return CanaryVerdict(decision, Outcome(False, summary, evidence, (rule.line,)))


def _decision(rules: list[CanaryRule]) -> tuple[Decision, str]:
    broken = [rule for rule in rules if rule.state == "broken"]
    if broken:
        return "revert", "; ".join(
            f"{r.rule}? observed {r.observed:.4g}, at least {r.low:.4g}, bound {r.bound:g}" for r in broken
        )
    undecided = [rule for rule in rules if rule.state == "open"]
    if undecided:
        return "continue", "; ".join(f"{rule.rule}? {rule.reason or 'not known yet'}" for rule in undecided)
    return "promote", "every bound holds"


def _errors(bounds: CanaryBounds, seen: Seen) -> CanaryRule:
    """Rows on which it failed. The champion's own failures are refusals to the caller and not in the log."""
    rows, failed, bound = len(seen.failed), int(seen.failed.sum()), bounds.max_error_rate
    observed = failed / rows if rows else 0.0
    rates = np.unique(np.r_[np.geomspace(1e-6, 0.999, 2000), bound])
    evidence = rate_evidence(failed, rows, rates)
    above = rates[(evidence < -np.log(bounds.alpha / _QUESTIONS)) | (rates > observed)]
    below = rates[(evidence < -np.log(bounds.alpha)) | (rates < observed)]
    low, high = (float(above.min()) if failed else 0.0), float(below.max())
    certain = float(rate_evidence(failed, rows, bound))
    broken = observed > bound and certain >= -np.log(bounds.alpha / _QUESTIONS)
    holds = observed < bound and certain >= -np.log(bounds.alpha)
    state: State = "broken" if broken else "holds" if holds else "open"
    return CanaryRule("answers without failing", observed, low, high, bound, rows, state)


def _latency(bounds: CanaryBounds, seen: Seen) -> CanaryRule:
    """How many times as long its batches took, as a geometric mean: one late batch must not decide."""
    part = bounds.alpha / _QUESTIONS
    rule = _of_mean("as fast as the champion", seen.slower, np.log(bounds.max_latency_ratio), bounds, part)
    if not rule.rows:
        return replace(rule, reason="no batch of the champion's alone to compare with, of the size of the canary's")
    numbers: dict[str, Any] = {n: float(np.exp(getattr(rule, n))) for n in ("observed", "low", "high", "bound")}
    if rule.rows < _BATCHES:  # an asymptotic interval of few is none
        numbers |= {"state": "open", "reason": f"{rule.rows} of at least {_BATCHES} batches to compare"}
    return replace(rule, **numbers)


def _answers(bounds: CanaryBounds, seen: Seen) -> list[CanaryRule]:
    """Mean and deciles of its answers, against those that the champion gives to the same rows.

    Deviation and deciles are those of the champion's answers to the first `min_rows` rows.
    """
    names = ("mean answer as the champion's", "deciles as the champion's")
    if len(seen.champion) < bounds.min_rows:
        why = seen.trouble or f"{len(seen.champion)} of at least {bounds.min_rows} rows"
        return [CanaryRule(name, 0.0, 0.0, 0.0, bound, 0, "open", why) for name, bound in _shifts(bounds, names)]
    first, part = seen.champion[: bounds.min_rows], bounds.alpha / _QUESTIONS / _SIDES
    deviation = float(first.std())
    differences = (seen.canary - seen.champion) / (deviation if deviation > 1e-9 else 1.0)
    mean = _of_size(names[0], differences, bounds.max_mean_shift, bounds, part)
    edges = np.unique(np.quantile(first, np.arange(0.1, 0.95, 0.1)))
    found = [
        _of_size(names[1], (seen.canary <= e) * 1.0 - (seen.champion <= e), bounds.max_decile_shift, bounds, part)
        for e in edges
    ]
    worst = max(found, key=lambda rule: (rule.state == "broken", rule.high))
    return [mean, worst]


def _against_stale(rule: CanaryRule, bounds: CanaryBounds, seen: Seen, quality: CanaryRule) -> CanaryRule:
    """Judge a rule on answers where the champion is known to be stale: by labels, but for what is very far off."""
    if rule.state == "holds" or rule.low > _FAR * rule.bound or not rule.rows:
        return rule
    if len(seen.champion_loss) >= bounds.min_rows and quality.state == "holds":
        return replace(rule, state="holds", reason="it answers otherwise than a stale champion, and no worse")
    return replace(rule, state="open", reason="it may answer otherwise than a stale champion: labels decide")


def _shifts(bounds: CanaryBounds, names: tuple[str, str]) -> list[tuple[str, float]]:
    return list(zip(names, (bounds.max_mean_shift, bounds.max_decile_shift), strict=True))


def _quality(bounds: CanaryBounds, seen: Seen) -> CanaryRule:
    """Its loss against the champion's on the same rows, those whose labels have come.

    Tested is the mean of its loss less (1 + bound) times the champion's; shown is the share by which it is larger.
    """
    name, bound, rows = "as good as the champion", bounds.max_quality_loss, len(seen.champion_loss)
    if rows < bounds.min_rows:
        why = seen.no_labels or f"{rows} labels"
        state: State = "holds" if not bounds.min_labels else "open"
        waits = "" if not bounds.min_labels else f" of at least {max(bounds.min_labels, bounds.min_rows)}"
        return CanaryRule(name, 0.0, 0.0, 0.0, bound, 0, state, f"not judged: {why}{waits}")
    usual = float(seen.champion_loss.mean()) or 1.0
    excess = (seen.canary_loss - (1 + bound) * seen.champion_loss) / usual
    rule = _of_mean(name, excess, 0.0, bounds, bounds.alpha / _QUESTIONS)
    shown: dict[str, Any] = {key: getattr(rule, key) + bound for key in ("observed", "low", "high", "bound")}
    if rule.state == "holds" and rows < bounds.min_labels:
        return replace(rule, **shown, state="open", reason=f"{rows} of {bounds.min_labels} labels")
    return replace(rule, **shown)


def _of_mean(name: str, values: NDArray[Any], bound: float, bounds: CanaryBounds, part: float) -> CanaryRule:
    """Judge whether the mean of values [N] lies below the bound."""
    if not len(values):
        return CanaryRule(name, 0.0, 0.0, 0.0, bound, 0, "open")
    means, spreads = mean_and_spread(values)
    rows, mean, spread = len(values), float(means[-1]), float(spreads[-1])
    low = mean - spread * float(margin(rows, part, bounds.min_rows))
    high = mean + spread * float(margin(rows, bounds.alpha, bounds.min_rows))
    state: State = "broken" if low > bound else "holds" if high < bound else "open"
    return CanaryRule(name, mean, low, high, bound, rows, state)


def _of_size(name: str, values: NDArray[Any], bound: float, bounds: CanaryBounds, part: float) -> CanaryRule:
    """Judge whether the mean of values [N] lies between minus the bound and the bound."""
    return _of_mean(name, values if values.mean() >= 0 else -values, bound, bounds, part)
