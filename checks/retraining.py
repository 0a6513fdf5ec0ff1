"""When to train anew: what the monitoring checks said of windows of answers, against a policy. Pure: no lake.

A signal is raised by k of its newest n windows and falls after some calm ones in a row (hysteresis). A raised signal
asks for a retraining; cooldown, budget, the data's version and bad data may each hold it back, and say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ml.fingerprint import json_hash
from ml.upkeep import RetrainingSettings

Action = Literal["retrain", "held", "none"]


@dataclass(frozen=True)
class Sighting:
    """One check's word on one window of a version's answers: [start, end); `content` is a hash of the rows judged."""

    signal: str
    version: str
    start: datetime
    end: datetime
    breached: bool
    content: str
    summary: str = ""


@dataclass(frozen=True)
class Past:
    """A retraining that was asked for: when, and for which data."""

    at: datetime
    key: str


@dataclass(frozen=True)
class Decision:
    """What to do now, why, and for which data: `key` names them, so that they are acted upon once."""

    action: Action
    reason: str
    key: str = ""
    raised: tuple[Sighting, ...] = ()


def decide(
    policy: RetrainingSettings,
    champion: str,
    sightings: Sequence[Sighting],
    past: Sequence[Past],
    now: datetime,
    bad_data: Sequence[str] = (),
    scheduled: str = "",
) -> Decision:
    """Return whether to train a model anew.

    Args:
        policy: The spec's.
        champion: The version that serves; only windows that it answered count.
        sightings: Of all signals and versions; of two on one window the later in the sequence counts.
        past: Retrainings that were asked for, whatever became of them.
        now: The platform's instant.
        bad_data: Failed gates on what the model reads, a sentence each: with any, nothing is retrained.
        scheduled: If the policy's schedule asks now, a hash of what there is to learn from; it asks once for the same.
    """
    newest = {(s.signal, s.start): s for s in sightings if s.version == champion}
    own = sorted(newest.values(), key=lambda s: (s.start, s.signal))
    raised = [window for signal in policy.signals for window in _raised(policy, [s for s in own if s.signal == signal])]
    if not raised and not scheduled:
        return Decision("none", f"no signal of {', '.join(policy.signals)} is raised")
    words = [f"{s.signal}: {s.summary}" for s in _newest_of_each(raised)]
    reason = "; ".join([f"schedule {policy.schedule}"] * bool(scheduled) + words)
    key = json_hash([champion, scheduled, [(s.signal, s.start.isoformat(), s.content) for s in raised]])[:16]
    held = _held(policy, past, now, key, bad_data)
    return Decision("held" if held else "retrain", f"{reason}; held back: {held}" if held else reason, key, (*raised,))


def _raised(policy: RetrainingSettings, windows: Sequence[Sighting]) -> tuple[Sighting, ...]:
    """Return the breached ones of the newest windows if one signal is raised now, none if it is not."""
    is_raised, calm = False, 0
    for place, window in enumerate(windows):
        calm = 0 if window.breached else calm + 1
        newest = windows[max(0, place + 1 - policy.of) : place + 1]
        if sum(w.breached for w in newest) >= policy.breaches:
            is_raised = True
        elif calm >= policy.calm:
            is_raised = False
    return tuple(w for w in windows[-max(policy.of, policy.calm) :] if w.breached) if is_raised else ()


def _newest_of_each(raised: Sequence[Sighting]) -> list[Sighting]:
    return list({sighting.signal: sighting for sighting in raised}.values())


def _held(policy: RetrainingSettings, past: Sequence[Past], now: datetime, key: str, bad_data: Sequence[str]) -> str:
    """Return what keeps a retraining that is asked for from being started, "" if nothing does."""
    if bad_data:
        more = f" and {len(bad_data) - 1} more" if len(bad_data) > 1 else ""
        return f"bad data, not drift: {bad_data[0]}{more}"
    if any(p.key == key for p in past):
        return "these data were answered with a retraining before"
    spent = [p for p in past if now - p.at < timedelta(days=policy.budget_days)]
    if len(spent) >= policy.budget:
        return f"budget of {policy.budget} retrainings in {policy.budget_days:g} days is spent"
    if past and (rest := timedelta(days=policy.cooldown_days) - (now - max(p.at for p in past))) > timedelta(0):
        return f"cooldown for {rest / timedelta(days=1):.1f} more days"
    return ""
